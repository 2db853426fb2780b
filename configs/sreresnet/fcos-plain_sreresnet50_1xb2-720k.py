"""FCOS with SReResNet-50, the authors' first recipe: one GPU, 2 images per step, lr 0.0025.

They trained with maskrcnn-benchmark on COCO 2014 without minival, which is train2017.
"""

_base_ = "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"

model = dict(
    backbone=dict(type="mmres_plugin.SReResNet"),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),
)

train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=720_000, val_interval=60_000)
train_dataloader = dict(sampler=dict(type="InfiniteSampler"))
optim_wrapper = dict(optimizer=dict(lr=0.0025), clip_grad=None)
param_scheduler = [
    dict(type="ConstantLR", factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, milestones=[480_000, 640_000], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=2)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=60_000))
log_processor = dict(by_epoch=False)
