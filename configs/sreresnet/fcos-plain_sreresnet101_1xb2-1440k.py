"""FCOS with SReResNet-101, the authors' first recipe: twice the steps, short sides of 640 to 800.

The learning rate falls after 480,000 and 640,000 steps, as with 50 layers.
"""

_base_ = "fcos-plain_sreresnet50_1xb2-720k.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="open-mmlab://detectron/resnet101_caffe"))
)

train_cfg = dict(max_iters=1_440_000)
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomResize", scale=[(1333, 640), (1333, 800)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
