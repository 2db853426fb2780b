_base_ = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet"))
