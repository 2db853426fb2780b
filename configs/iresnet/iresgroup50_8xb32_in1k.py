_base_ = "iresnet50_8xb32_in1k.py"

model = dict(backbone=dict(type="mmres_plugin.IResGroup"), head=dict(in_channels=1024))
