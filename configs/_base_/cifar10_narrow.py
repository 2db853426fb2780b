"""CIFAR-10 for a network of three narrow stages: ten epochs that a CPU can bear.

One recipe for all networks, chosen with ResNet alone on 5,000 training images held out.
"""

_base_ = "cifar10.py"

# Three stages of bottleneck blocks, a quarter of the usual width. The first stage strides, too, so
# that a training takes a third of the time.
model = dict(
    backbone=dict(
        depth=(2, 2, 2),
        num_stages=3,
        strides=(2, 2, 2),
        out_indices=(2,),
        stem_channels=16,
        base_channels=16,
        zero_init_residual=False,
    ),
    head=dict(in_channels=256),
)

# MMPretrain's CIFAR is RGB. Swapped to BGR, it is like image files, and the network takes both.
swap = dict(type="Normalize", mean=[0.0] * 3, std=[1.0] * 3, to_rgb=True)
train_pipeline = [swap, *_base_.train_pipeline]
test_pipeline = [swap, *_base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
data_preprocessor = dict(to_rgb=True)

# Validation only at the end: the test set is looked at once.
train_cfg = dict(max_epochs=10, val_interval=10)
# Without bfloat16 instructions in the CPU, take OptimWrapper; on a GPU, AmpOptimWrapper.
optim_wrapper = dict(type="CPUAmpOptimWrapper", optimizer=dict(lr=0.2))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=1, end=10, convert_to_iter_based=True),
]
custom_hooks = [dict(type="ChannelsLastHook")]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
