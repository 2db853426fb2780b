_base_ = "../_base_/cifar10_files.py"

model = dict(backbone=dict(type="mmres_plugin.SEResNeXt", groups=8, width_per_group=4))
