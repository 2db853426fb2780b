_base_ = "mmpretrain::resnet/resnet50_8xb256-rsb-a2-300e_in1k.py"

model = dict(_scope_="mmpretrain", backbone=dict(type="mmres_plugin.SReResNet"))
