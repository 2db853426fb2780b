_base_ = "faster-rcnn_edseresnet50_1x.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="checkpoints/edseresnet101_8xb32_in1k.pth"))
)
