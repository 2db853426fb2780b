_base_ = "fcos_iresgroupfix50_1x.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="checkpoints/iresgroupfix101_8xb32_in1k.pth"))
)
