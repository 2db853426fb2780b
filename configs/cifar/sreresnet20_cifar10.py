_base_ = "../_base_/cifar10_files.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet"))
