_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.IResGroup",
        init_cfg=dict(checkpoint="checkpoints/iresgroup50_8xb32_in1k.pth"),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
