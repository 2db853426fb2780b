_base_ = "fcos_iresgroup50_1x.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="checkpoints/iresgroup101_8xb32_in1k.pth"))
)
