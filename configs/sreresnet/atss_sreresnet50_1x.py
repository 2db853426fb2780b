_base_ = "mmdet::atss/atss_r50_fpn_1x_coco.py"

model = dict(backbone=dict(type="mmres_plugin.SReResNet"))
auto_scale_lr = dict(base_batch_size=8)
