# As with the weights of MMDetection's "strikes back", from torchvision's second ones.
_base_ = "faster-rcnn_sreresnet50-rsb-pre_1x.py"

model = dict(
    backbone=dict(
        init_cfg=dict(
            _delete_=True, type="Pretrained", checkpoint="torchvision://resnet50.imagenet1k_v2"
        ),
    ),
)
