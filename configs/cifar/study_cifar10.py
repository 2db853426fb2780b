# The study of backbones on CIFAR-10: three narrow stages, ten epochs that a CPU can bear.
# One recipe for all networks, chosen with this ResNet alone on 5,000 training images held out.
_base_ = "../_base_/cifar10.py"

model = dict(
    # A plain ResNet: three stages of bottleneck blocks, a quarter of the usual width. The first
    # stage strides, too, so that a training takes a third of the time.
    backbone=dict(
        type="mmres_plugin.SReResNet",
        recursions=0,
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
