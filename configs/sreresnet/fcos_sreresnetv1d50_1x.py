_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.SReResNetV1d",
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="mmcls://resnet50_v1d"),
    ),
)
