# The plain network beside faster-rcnn_edresnet101_1x.py.
_base_ = "faster-rcnn_edresnet101_1x.py"

model = dict(
    backbone=dict(
        encoder_decoder=None,
        init_cfg=dict(_delete_=True, type="Pretrained", checkpoint="torchvision://resnet101"),
    ),
)
