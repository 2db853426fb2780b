_base_ = "../_base_/faster-rcnn_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.EDSEResNet",
        init_cfg=dict(checkpoint="checkpoints/edseresnet50_8xb32_in1k.pth"),
    ),
)
