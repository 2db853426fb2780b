_base_ = "fcos_edresnext50-32x4d_1x.py"

model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(checkpoint="checkpoints/edresnext101-32x4d_8xb32_in1k.pth")
    )
)
