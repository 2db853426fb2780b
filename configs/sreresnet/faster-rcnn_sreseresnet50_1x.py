_base_ = "../_base_/faster-rcnn_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.SReSEResNet",
        init_cfg=dict(checkpoint="mmcls://se-resnet50"),
    ),
)
