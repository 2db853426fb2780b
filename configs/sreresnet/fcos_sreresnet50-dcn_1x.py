_base_ = "mmdet::fcos/fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet"))
