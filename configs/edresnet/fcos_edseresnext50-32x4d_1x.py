_base_ = "../_base_/fcos_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.EDSEResNeXt",
        init_cfg=dict(checkpoint="checkpoints/edseresnext50-32x4d_8xb32_in1k.pth"),
    ),
)
