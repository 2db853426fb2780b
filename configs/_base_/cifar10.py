"""CIFAR-10 on one GPU; MMPretrain downloads the data."""

_base_ = ["cifar.py", "mmpretrain::_base_/datasets/cifar10_bs16.py"]

train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
