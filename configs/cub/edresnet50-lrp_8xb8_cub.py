# The pretrained layers learn at a tenth of the rate of the new ones (`lrp` in fine-tuning code).
_base_ = "edresnet50_8xb8_cub.py"

optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
