_base_ = "faster-rcnn_sreresnetv1d50_1x.py"

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint="mmcls://resnet101_v1d")))
