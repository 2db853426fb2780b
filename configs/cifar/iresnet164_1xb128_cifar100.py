# The usual CIFAR network of 164 layers (arXiv 1603.05027): three narrow stages of 18 bottlenecks.
# 111 per stage make 1001 layers; (333, 334, 333) makes 3002.
_base_ = "../_base_/cifar100.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.IResNet",
        depth=(18, 18, 18),
        num_stages=3,
        stem_channels=16,
        base_channels=16,
        out_indices=(2,),
    ),
    head=dict(in_channels=256),
)
