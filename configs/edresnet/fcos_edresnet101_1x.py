_base_ = "fcos_edresnet50_1x.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="checkpoints/edresnet101_8xb32_in1k.pth"))
)
