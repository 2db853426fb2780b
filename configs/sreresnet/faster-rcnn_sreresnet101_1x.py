_base_ = "faster-rcnn_sreresnet50_1x.py"

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint="torchvision://resnet101")))
