# Find shapes in scenes, from the detector of digits that `make demo` has trained.
# Data: mmres digits --shapes
_base_ = "fcos_sreresnet18_digits.py"

# Keep all of the digits' detector except the layer that separates its ten classes.
load_from = "work_dirs/demo/detector/epoch_2.pth"

data_root = "data/shapes/detection/"
metainfo = dict(classes=("circle", "cross", "square", "star", "triangle"))

model = dict(
    backbone=dict(init_cfg=None),
    bbox_head=dict(num_classes=5),
)
train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "annotations/instances_val2017.json")
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=3, val_interval=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", begin=0, end=3, by_epoch=True, convert_to_iter_based=True),
]
