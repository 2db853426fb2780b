_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.EDResNeXt",
        init_cfg=dict(checkpoint="checkpoints/edresnext50-32x4d_8xb32_in1k.pth"),
    ),
)
