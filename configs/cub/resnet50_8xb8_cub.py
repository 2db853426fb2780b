_base_ = "../_base_/cub.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.SReResNet",
        recursions=0,
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
)
