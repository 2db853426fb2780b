_base_ = "fcos_sreresnext50-32x4d_1x.py"

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint="open-mmlab://resnext101_32x4d")))
