"""62 mistakes in a config: each is told before the second step of the training."""

from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import complete
from helpers.checks import problems
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

TRAIN = "train_dataloader = dict({})\n"
PIPELINE = "p = _base_.train_dataloader.dataset.pipeline\n" + TRAIN.format(
    "dataset=dict(pipeline={})"
)
VAL_PIPELINE = (
    "p = _base_.val_dataloader.dataset.pipeline\nval_dataloader = dict(dataset=dict(pipeline={}))\n"
)
MODEL = "model = dict({})\n"
SCHEDULER = "param_scheduler = [dict({})]\n"
OPTIMIZER = "optim_wrapper = dict(optimizer=dict({}))\n"
HOOKS = "default_hooks = dict({})\n"


class Mistake(NamedTuple):
    """A line or two that a user has written into a config, and the place that must be named."""

    base: str
    text: str
    place: str


# When the run stops, where no check has told a mistake.
BUILT, STEP = "while the runner was built: ", "in the first step: "
VALIDATION = "in the first batch of the validation: "
# With these a run goes on, with a line in its log.
REMARKS = ("metric to stop by",)

MISTAKES = {
    # The parts of a model do not fit
    "channels of the neck": Mistake(
        "det", MODEL.format("neck=dict(in_channels=[64, 128, 256])"), "model.neck.in_channels=["
    ),
    "channels of the head": Mistake(
        "det", MODEL.format("bbox_head=dict(in_channels=64)"), "model.bbox_head.in_channels=32"
    ),
    "channels of a classifier": Mistake(
        "cls", MODEL.format("backbone=dict(depth=50)"), "model.head.in_channels=2048"
    ),
    "one map too few": Mistake(
        "det", MODEL.format("backbone=dict(out_indices=(2, 3))"), "model.neck.in_channels=[256,512]"
    ),
    "strides": Mistake(
        "det", MODEL.format("bbox_head=dict(strides=[8, 16, 64])"), "model.bbox_head: its strides"
    ),
    "levels": Mistake("det", MODEL.format("neck=dict(num_outs=4)"), "model.bbox_head: its strides"),
    "ranges": Mistake(
        "det",
        MODEL.format("bbox_head=dict(regress_ranges=((-1, 32), (32, 1e8)))"),
        STEP,
    ),
    "order of stages": Mistake(
        "det", MODEL.format("backbone=dict(out_indices=(3, 2, 1))"), "model.backbone.out_indices"
    ),
    "stage that is not there": Mistake(
        "det", MODEL.format("backbone=dict(out_indices=(1, 2, 4))"), "model"
    ),
    "norm": Mistake("det", MODEL.format("backbone=dict(norm_cfg=dict(type='BNN'))"), "model"),
    "depth": Mistake("det", MODEL.format("backbone=dict(depth=19)"), "depth must be one of"),
    "type of the backbone": Mistake(
        "det", MODEL.format("backbone=dict(type='mmres_plugin.SReResNt')"), "Did you mean"
    ),
    "argument of the backbone": Mistake(
        "det", MODEL.format("backbone=dict(dpeth=50)"), "model.backbone.dpeth"
    ),
    "type of the model": Mistake("det", MODEL.format("type='FCSO'"), "Did you mean 'FCOS'"),
    "type of a loss": Mistake(
        "det", MODEL.format("bbox_head=dict(loss_cls=dict(type='FocalLos'))"), "Did you mean"
    ),
    "suppression": Mistake(
        "det",
        MODEL.format("test_cfg=dict(nms=dict(type='nsm', iou_threshold=0.5))"),
        VALIDATION,
    ),
    "std of zero": Mistake(
        "det", MODEL.format("data_preprocessor=dict(std=[0, 0, 0])"), "is not finite in iteration 1"
    ),
    "two means": Mistake("det", MODEL.format("data_preprocessor=dict(mean=[1.0, 2.0])"), "model"),
    "divisor of zero": Mistake(
        "det", MODEL.format("data_preprocessor=dict(pad_size_divisor=0)"), VALIDATION
    ),
    "frozen without weights": Mistake(
        "det", MODEL.format("backbone=dict(frozen_stages=1)"), "model.backbone.frozen_stages=-1"
    ),
    # Data
    "no loader": Mistake("det", PIPELINE.format("p[1:]"), STEP),
    "no annotations": Mistake("det", PIPELINE.format("[p[0], *p[2:]]"), STEP),
    "no packer": Mistake("det", PIPELINE.format("p[:-1]"), STEP),
    "no loader for a classifier": Mistake("cls", PIPELINE.format("p[1:]"), STEP),
    "no packer for a classifier": Mistake("cls", PIPELINE.format("p[:-1]"), STEP),
    "no packer in validation": Mistake("det", VAL_PIPELINE.format("p[:-1]"), VALIDATION),
    "type of a step": Mistake(
        "det",
        PIPELINE.format("[*p[:2], dict(type='Reszie', scale=(80, 64)), *p[3:]]"),
        "pipeline.2",
    ),
    "argument of a step": Mistake(
        "det", PIPELINE.format("[*p[:2], dict(type='Resize', scal=(80, 64)), *p[3:]]"), "pipeline.2"
    ),
    "value of a step": Mistake(
        "det", PIPELINE.format("[*p[:2], dict(type='Resize', scale='big'), *p[3:]]"), STEP
    ),
    "folder": Mistake(
        "det", TRAIN.format("dataset=dict(data_root='data/koko')"), "there is no folder"
    ),
    "annotations": Mistake(
        "det",
        TRAIN.format("dataset=dict(ann_file='annotations/instances_trian2017.json')"),
        "Did you",
    ),
    "classes": Mistake(
        "det",
        TRAIN.format("dataset=dict(metainfo=dict(classes=['cat', 'lynx']))"),
        "nothing is left to learn",
    ),
    "number of classes": Mistake(
        "det", MODEL.format("bbox_head=dict(num_classes=20)"), "model.bbox_head.num_classes=80"
    ),
    "batches of zero": Mistake("det", TRAIN.format("batch_size=0"), BUILT),
    "batches below zero": Mistake("cls", TRAIN.format("batch_size=-1"), BUILT),
    "batches of a word": Mistake("cls", TRAIN.format("batch_size='2'"), BUILT),
    "workers below zero": Mistake("cls", TRAIN.format("num_workers=-1"), BUILT),
    "workers of a word": Mistake("cls", TRAIN.format("num_workers='2'"), BUILT),
    "half a worker": Mistake("cls", TRAIN.format("num_workers=2.5"), STEP),
    "batches larger than the set": Mistake(
        "cls", TRAIN.format("batch_size=64, drop_last=True"), "train_dataloader: gives no batch"
    ),
    "type of the sampler": Mistake(
        "cls", TRAIN.format("sampler=dict(type='DefaultSampelr')"), "train_dataloader"
    ),
    # Loops, metrics and hooks
    "best by a metric that is not there": Mistake(
        "det",
        HOOKS.format("checkpoint=dict(save_best='coco/bbox_mPA', rule='greater')"),
        "save_best",
    ),
    "best of a classifier": Mistake(
        "cls", HOOKS.format("checkpoint=dict(save_best='accuracy/top2')"), "save_best"
    ),
    "rule": Mistake(
        "cls",
        HOOKS.format("checkpoint=dict(save_best='auto', rule='bigger')"),
        BUILT,
    ),
    "interval of a word": Mistake(
        "cls", HOOKS.format("checkpoint=dict(interval='a')"), "default_hooks.checkpoint"
    ),
    "interval of the log": Mistake("cls", HOOKS.format("logger=dict(interval='a')"), BUILT),
    "argument of a hook": Mistake(
        "cls",
        HOOKS.format("checkpoint=dict(max_keep_ckpt=3)"),
        "default_hooks.checkpoint.max_keep_ckpt",
    ),
    "type of a hook": Mistake(
        "cls", "custom_hooks = [dict(type='EMAHok')]\n", "custom_hooks.0.type"
    ),
    "value of a hook": Mistake("cls", "custom_hooks = [dict(type='EMAHook', momentum=2)]\n", BUILT),
    "metric to stop by": Mistake(
        "cls",
        "custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top9')]\n",
        "EarlyStoppingHook",
    ),
    "validation never": Mistake("cls", "train_cfg = dict(val_interval=0)\n", "train_cfg"),
    "key of the loop": Mistake("cls", "train_cfg = dict(max_epoch=3)\n", BUILT),
    "no epochs": Mistake("cls", "train_cfg = dict(max_epochs=0)\n", BUILT),
    "kind of result": Mistake("det", "val_evaluator = dict(metric='bbx')\n", BUILT),
    "annotations of another set": Mistake(
        "det",
        "val_evaluator = dict(ann_file=_base_.val_evaluator.ann_file + '/no')\n",
        "val_evaluator",
    ),
    "five of two classes": Mistake(
        "cls", MODEL.format("head=dict(num_classes=2, topk=(1,))"), "val_evaluator.topk"
    ),
    # Optimizer and the rest
    "rate of a word": Mistake("cls", OPTIMIZER.format("lr='0.1'"), BUILT),
    "rate below zero": Mistake("cls", OPTIMIZER.format("lr=-0.1"), BUILT),
    "clipping": Mistake("cls", "optim_wrapper = dict(clip_grad=dict(max_nrom=35))\n", STEP),
    "schedule": Mistake("cls", SCHEDULER.format("type='MultiStepLR', milestone=[1]"), BUILT),
    "seed of a word": Mistake("cls", "randomness = dict(seed='zero')\n", BUILT),
    "top-level key": Mistake("cls", "optim_wraper = dict()\n", "unknown key 'optim_wraper'"),
}
QUICK = ("channels of the neck", "validation never")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with both data sets and a config for each."""
    home = tmp_path_factory.mktemp("home")
    detector_config(home / "det.py", make_coco(home / "coco"))
    classifier_config(home / "cls.py", make_imagenet(home / "imagenet"))
    return home


def test_number_of_kinds():
    assert len(MISTAKES) == 62


@pytest.mark.parametrize(
    "kind",
    [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in MISTAKES],
)
def test_mistake_is_told(home, tmp_path, kind):
    base, text, answer = MISTAKES[kind]
    config = tmp_path / "mine.py"
    config.write_text(f"_base_ = {str(home / base)!r} + '.py'\n{text}")
    said = problems(config)
    if not said:  # only the run itself shows it
        done = complete("mmres", "train", config, "--work-dir", tmp_path / "work", cwd=tmp_path)
        assert done.returncode == 2 or kind in REMARKS
        said = done.stdout + done.stderr
        assert kind in REMARKS or not list((tmp_path / "work").glob("*.pth"))
    assert answer in said
