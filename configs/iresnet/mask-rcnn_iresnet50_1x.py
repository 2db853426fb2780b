_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.IResNet",
        init_cfg=dict(checkpoint="checkpoints/iresnet50_8xb32_in1k.pth", prefix="backbone."),
    ),
)
