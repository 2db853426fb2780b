_base_ = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet"))
