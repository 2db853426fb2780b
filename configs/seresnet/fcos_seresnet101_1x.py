_base_ = "fcos_seresnet50_1x.py"

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint="mmcls://se-resnet101"),
    )
)
