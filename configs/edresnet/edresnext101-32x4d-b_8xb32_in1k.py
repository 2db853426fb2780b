_base_ = "edresnext50-32x4d-b_8xb32_in1k.py"

model = dict(backbone=dict(depth=101))
