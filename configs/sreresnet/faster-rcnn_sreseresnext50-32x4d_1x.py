_base_ = "../_base_/faster-rcnn_1x.py"

# The weights of the plain network, as SReResNet starts from those of ResNet.
model = dict(
    backbone=dict(
        type="mmres_plugin.SReSEResNeXt",
        init_cfg=dict(checkpoint="checkpoints/seresnext50-32x4d_8xb32_in1k.pth"),
    ),
)
