_base_ = "faster-rcnn_sreseresnext50-32x4d_1x.py"

model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(checkpoint="checkpoints/seresnext101-32x4d_8xb32_in1k.pth")
    )
)
