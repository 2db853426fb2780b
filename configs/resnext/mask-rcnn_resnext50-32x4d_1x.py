_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.ResNeXt",
        init_cfg=dict(checkpoint="open-mmlab://resnext50_32x4d"),
    ),
)
