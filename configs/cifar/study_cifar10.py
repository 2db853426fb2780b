# The study of backbones on CIFAR-10: a plain ResNet, which `mmres compare` replaces.
_base_ = "../_base_/cifar10_narrow.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet", recursions=0))
