# From ImageNet's weights, all but those of the stem: its convolution has another size.
_base_ = "resnet50_1xb128_cifar100.py"

model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50")))
