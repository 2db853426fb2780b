_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.SEResNet",
        init_cfg=dict(checkpoint="mmcls://se-resnet50"),
    ),
)
