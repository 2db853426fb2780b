_base_ = "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.IResNet",
        init_cfg=dict(checkpoint="checkpoints/iresnet50_8xb32_in1k.pth", prefix="backbone."),
    ),
)
