# The settings for MMDetection's "strikes back" weights, with torchvision's V2 weights.
_base_ = "faster-rcnn_sreresnet50-rsb-pre_1x.py"

model = dict(
    backbone=dict(
        init_cfg=dict(
            _delete_=True, type="Pretrained", checkpoint="torchvision://resnet50.imagenet1k_v2"
        ),
    ),
)
