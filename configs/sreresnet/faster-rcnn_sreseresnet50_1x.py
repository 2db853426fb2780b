_base_ = "../_base_/faster-rcnn_1x.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.SReSEResNet",
        init_cfg=dict(
            checkpoint="https://download.openmmlab.com/mmclassification/v0/se-resnet/se-resnet50_batch256_imagenet_20200804-ae206104.pth"
        ),
    ),
)
