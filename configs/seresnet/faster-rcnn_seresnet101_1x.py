_base_ = "faster-rcnn_seresnet50_1x.py"

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(
            checkpoint="https://download.openmmlab.com/mmclassification/v0/se-resnet/se-resnet101_batch256_imagenet_20200804-ba5b51d4.pth"
        ),
    )
)
