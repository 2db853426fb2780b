"""A classifier of 32×32 images: 200 epochs, 128 images per step, lr 0.1, ×0.2 after 60, 120, 160.

The recipe is that of MMPretrain's ResNet-50 on CIFAR-100, for CIFAR-10 as well.
"""

_base_ = [
    "mmpretrain::_base_/models/resnet50_cifar.py",
    "mmpretrain::_base_/schedules/cifar10_bs128.py",
    "mmpretrain::_base_/default_runtime.py",
]

model = dict(_scope_="mmpretrain", backbone=dict(_delete_=True, depth=50, cifar_stem=True))

optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
param_scheduler = dict(milestones=[60, 120, 160], gamma=0.2)
