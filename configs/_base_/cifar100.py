"""CIFAR-100 on one GPU; MMPretrain downloads the data."""

_base_ = ["cifar.py", "mmpretrain::_base_/datasets/cifar100_bs16.py"]

model = dict(head=dict(num_classes=100))

train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
