_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.SEResNeXt",
        init_cfg=dict(
            checkpoint="checkpoints/seresnext50-32x4d_8xb32_in1k.pth", prefix="backbone."
        ),
    ),
)
