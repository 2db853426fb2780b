_base_ = "fcos_sreresnet50_1x.py"

model = dict(neck=dict(type="mmres_plugin.SReFPN"))
