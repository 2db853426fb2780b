"""FCOS with the improvements of its authors, 12 epochs on COCO, 16 images per step.

MMDetection's recipe, with RGB images normalised as ImageNet classifiers want them and a backbone
of MMPretrain's checkpoints (their names start with ``backbone.``).
"""

_base_ = "mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py"

model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        depth=50,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", prefix="backbone."),
    ),
)
