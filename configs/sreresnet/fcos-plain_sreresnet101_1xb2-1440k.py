"""FCOS with SReResNet-101, the authors' first recipe: twice the steps, short sides of 640 to 800.

The learning rate falls after 480,000 and 640,000 steps, as with 50 layers. The authors draw any
short side between the two, this config one of six.
"""

_base_ = "fcos-plain_sreresnet50_1xb2-720k.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="open-mmlab://detectron/resnet101_caffe"))
)

train_cfg = dict(max_iters=1_440_000)
scales = [(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)]
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomChoiceResize", scales=scales, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
