"""Faster R-CNN with FPN, 12 epochs on COCO, 16 images per step: MMDetection's recipe, with a
backbone of MMPretrain's checkpoints (their names start with ``backbone.``).
"""

_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(
        _delete_=True,
        depth=50,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type="Pretrained", prefix="backbone."),
    ),
)
