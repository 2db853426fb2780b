# From ImageNet weights, except the stem's convolution, which has another size.
_base_ = "sreresnet50_1xb128_cifar100.py"

model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50")))
