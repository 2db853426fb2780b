# Classify single digits; the backbone is then the start of fcos_sreresnet18_digits.py.
# Data: mmres digits
_base_ = [
    "mmpretrain::_base_/models/resnet18.py",
    "mmpretrain::_base_/default_runtime.py",
]

model = dict(
    # With half of the usual width a step takes a quarter of the time.
    backbone=dict(
        type="mmres_plugin.SReResNet",
        stem_channels=32,
        base_channels=32,
        # With branches that start at zero, learning started later in these few steps.
        zero_init_residual=False,
    ),
    head=dict(num_classes=10, in_channels=256, topk=(1,)),
)

data_preprocessor = dict(
    num_classes=10,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

# No flips: a mirrored digit is another shape.
pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]

# The scope is for configs that inherit this one by `mmres_plugin::`, which would set our own.
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        _scope_="mmpretrain",
        type="CustomDataset",
        data_root="data/digits/classification",
        data_prefix="train",
        pipeline=pipeline,
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        _scope_="mmpretrain",
        type="CustomDataset",
        data_root="data/digits/classification",
        data_prefix="val",
        pipeline=pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(_scope_="mmpretrain", type="Accuracy", topk=(1,))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1.4e-3, weight_decay=0.05, fused=True))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", begin=0, end=2, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=64)

custom_hooks = [dict(type="ChannelsLastHook")]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
