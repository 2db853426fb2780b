_base_ = "../_base_/cub.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.IResNet",
        init_cfg=dict(checkpoint="checkpoints/iresnet50_8xb32_in1k.pth"),
    ),
)
