_base_ = "fcos_sreseresnet50_1x.py"

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint="mmcls://se-resnet101"),
    )
)
