_base_ = "../_base_/cub.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.EDResNet",
        init_cfg=dict(checkpoint="checkpoints/edresnet50_8xb32_in1k.pth"),
    ),
)
