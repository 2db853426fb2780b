_base_ = "fcos_iresnet50_1x.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="checkpoints/iresnet101_8xb32_in1k.pth"))
)
