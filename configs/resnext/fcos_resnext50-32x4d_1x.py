_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.ResNeXt",
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="open-mmlab://resnext50_32x4d"),
    ),
)
