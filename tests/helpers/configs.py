"""Config files of small models on the tiny data sets, written where a test wants them."""

from pathlib import Path

from mmengine.config import Config

DETECTOR = """
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(type='mmres_plugin.SReResNet', depth=18, out_indices=(1, 2, 3)),
    neck=dict(type='FPN', in_channels=[128, 256, 512], out_channels=32, num_outs=3),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=80,
        in_channels=32,
        feat_channels=32,
        stacked_convs=1,
        strides=[8, 16, 32],
        regress_ranges=((-1, 32), (32, 64), (64, 1e8))),
    test_cfg=dict(nms_pre=50, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=10))
_base_.train_dataloader.dataset.pipeline[2].scale = (80, 64)
_base_.val_dataloader.dataset.pipeline[1].scale = (80, 64)
_base_.test_dataloader.dataset.pipeline = _base_.val_dataloader.dataset.pipeline
"""

CLASSIFIER = """
_base_ = [
    'mmpretrain::_base_/models/resnet18.py',
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
]
model = dict(backbone=dict(type='mmres_plugin.SReResNet'))
_base_.train_dataloader.dataset.pipeline[1].scale = 32
_base_.val_dataloader.dataset.pipeline[1].scale = 40
_base_.val_dataloader.dataset.pipeline[2].crop_size = 32
_base_.test_dataloader.dataset.pipeline = _base_.val_dataloader.dataset.pipeline
"""

# More lines for a classifier: an eighth of the channels, and the two classes of the tiny data.
NARROW = """
model['backbone'].update(stem_channels=8, base_channels=8)
model['head'] = dict(in_channels=64, num_classes=2, topk=(1,))
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
"""

# The same for a detector, whose classes stay.
NARROW_DETECTOR = """
model['backbone'].update(stem_channels=8, base_channels=8)
model['neck'].update(in_channels=[16, 32, 64])
"""

SHORT = """
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=1))
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(data_root={root!r}))
val_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(data_root={root!r}))
test_dataloader = val_dataloader
randomness = dict(seed=0)
"""

COCO_METRIC = """
val_evaluator = dict(ann_file={root!r} + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
"""


def detector_config(path: Path, coco: Path, extra: str = "") -> Path:
    """Write to ``path`` an FCOS on SReResNet-18 for the data in ``coco``; ``extra`` goes last."""
    path.write_text((DETECTOR + (SHORT + COCO_METRIC).format(root=str(coco))) + extra)
    return path


def classifier_config(path: Path, imagenet: Path, extra: str = "") -> Path:
    """Write to ``path`` a SReResNet-18 classifier for the data in ``imagenet``."""
    path.write_text((CLASSIFIER + SHORT.format(root=str(imagenet))) + extra)
    return path


def shrink(cfg: Config, work_dir: Path) -> Config:
    """Make ``cfg`` train for one epoch, on small pictures, two a step, with nothing downloaded."""
    cfg.work_dir = str(work_dir)
    cfg.visualizer.name = str(work_dir)  # the next one of that name would write to this folder
    cfg.model.backbone.init_cfg = None
    if "max_iters" in cfg.train_cfg:
        cfg.train_cfg.update(max_iters=1, val_interval=1)
    else:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.optim_wrapper.optimizer.lr = 1e-4
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        shrink_pictures(loader.dataset.pipeline)
    if cfg.default_scope == "mmdet":
        # Norms with the statistics of no training would let the maps grow from block to block.
        cfg.model.backbone.norm_eval = False
        test_cfg = cfg.model.test_cfg
        test_cfg.get("rcnn", test_cfg).score_thr = 0.0  # an untrained detector has results too
    return cfg


def shrink_pictures(pipeline: list) -> None:
    """Make the transforms of ``pipeline`` put out pictures of 64 or 80 pixels."""
    for transform in pipeline:
        if isinstance(transform, list):
            shrink_pictures(transform)
        elif transform.type == "RandomChoice":
            shrink_pictures(transform.transforms)
        elif transform.type == "RandomChoiceResize":
            transform.scales = [(80, 64)]
        elif transform.type in ("Resize", "RandomResize"):
            transform.scale = (80, 64)
        elif transform.type in ("RandomResizedCrop", "ResizeEdge"):
            transform.scale = 64
        elif transform.type in ("CenterCrop", "RandomCrop") and isinstance(
            transform.crop_size, int
        ):
            transform.crop_size = min(transform.crop_size, 64)
