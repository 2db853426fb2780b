_base_ = "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.EDResNet",
        init_cfg=dict(checkpoint="checkpoints/edresnet50_8xb32_in1k.pth", prefix="backbone."),
    ),
)
