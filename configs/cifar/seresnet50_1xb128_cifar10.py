_base_ = "../_base_/cifar10.py"

model = dict(backbone=dict(type="mmres_plugin.SEResNet"))
