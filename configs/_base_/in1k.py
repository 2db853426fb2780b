"""An ImageNet-1k classifier: 256 images per step (8×32), 100 epochs, lr 0.1, ÷10 every 30."""

_base_ = [
    "mmpretrain::_base_/datasets/imagenet_bs32.py",
    "mmpretrain::_base_/schedules/imagenet_bs256.py",
    "mmpretrain::_base_/default_runtime.py",
]

model = dict(
    # Look up names in MMPretrain, also in configs that inherit this one by `mmres_plugin::`, which
    # would set our own scope.
    _scope_="mmpretrain",
    type="ImageClassifier",
    backbone=dict(depth=50),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=2048,
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
        topk=(1, 5),
    ),
)
