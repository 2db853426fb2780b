# From weights of a modern recipe, with the optimizer that these need: MMDetection's settings.
_base_ = "mmdet::resnet_strikes_back/faster-rcnn_r50-rsb-pre_fpn_1x_coco.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet"))
