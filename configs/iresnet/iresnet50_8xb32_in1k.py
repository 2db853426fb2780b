_base_ = "../_base_/in1k.py"

model = dict(backbone=dict(type="mmres_plugin.IResNet"))

# The paper's schedule: 90 epochs, ÷10 after 30, 60 and 80.
param_scheduler = dict(milestones=[30, 60, 80])
train_cfg = dict(max_epochs=90)
