_base_ = "edresnet50-a_8xb32_in1k.py"

model = dict(backbone=dict(depth=101))
