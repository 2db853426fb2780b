_base_ = "../_base_/in1k.py"

model = dict(backbone=dict(type="mmres_plugin.SReSEResNeXt"))
