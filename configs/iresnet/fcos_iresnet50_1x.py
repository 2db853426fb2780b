_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.IResNet",
        init_cfg=dict(checkpoint="checkpoints/iresnet50_8xb32_in1k.pth"),
    ),
)
