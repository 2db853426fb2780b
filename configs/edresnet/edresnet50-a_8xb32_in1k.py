_base_ = "edresnet50_8xb32_in1k.py"

model = dict(backbone=dict(width_per_group=62))
