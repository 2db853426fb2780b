_base_ = "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"

model = dict(
    backbone=dict(
        type="mmres_plugin.ResNeXt",
        init_cfg=dict(checkpoint="open-mmlab://resnext50_32x4d"),
    ),
)
