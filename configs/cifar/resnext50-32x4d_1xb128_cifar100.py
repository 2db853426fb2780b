_base_ = "../_base_/cifar100.py"

model = dict(backbone=dict(type="mmres_plugin.ResNeXt"))
