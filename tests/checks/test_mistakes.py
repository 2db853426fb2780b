"""62 mistakes in a config: all but one are told before the second step of the training."""

from pathlib import Path

import pytest
from helpers import complete
from helpers.checks import problems
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet

# When the run stops, where no check has told a mistake.
BUILT, STEP = "while the runner was built: ", "in the first step: "
VALIDATION = "in the first batch of the validation: "
# With this a run goes on: MMEngine says it after the first validation.
REMARK = "Skip early stopping process"
# The config that is changed, the setting, and what is said.
MISTAKES = [
    # The parts of a model do not fit
    ("det", "model.neck.in_channels=[64, 128, 256]", "model.neck.in_channels=["),
    ("det", "model.bbox_head.in_channels=64", "model.bbox_head.in_channels=32"),
    ("cls", "model.backbone.depth=50", "model.head.in_channels=2048"),
    ("det", "model.backbone.out_indices=(2, 3)", "model.neck.in_channels=[256,512]"),
    ("det", "model.bbox_head.strides=[8, 16, 64]", "model.bbox_head: its strides"),
    ("det", "model.neck.num_outs=4", "model.bbox_head: its strides"),
    ("det", "model.bbox_head.regress_ranges=((-1, 32), (32, 1e8))", STEP),
    ("det", "model.backbone.out_indices=(3, 2, 1)", "model.backbone.out_indices"),
    ("det", "model.backbone.out_indices=(1, 2, 4)", "model"),
    ("det", "model.backbone.norm_cfg.type='BNN'", "model"),
    ("det", "model.backbone.depth=19", "depth must be one of"),
    ("det", "model.backbone.type='mmres_plugin.SReResNt'", "Did you mean"),
    ("det", "model.backbone.dpeth=50", "model.backbone.dpeth"),
    ("det", "model.type='FCSO'", "Did you mean 'FCOS'"),
    ("det", "model.bbox_head.loss_cls.type='FocalLos'", "Did you mean"),
    ("det", "model.test_cfg.nms=dict(type='nsm', iou_threshold=0.5)", VALIDATION),
    ("det", "model.data_preprocessor.std=[0, 0, 0]", "is not finite in iteration 1"),
    ("det", "model.data_preprocessor.mean=[1.0, 2.0]", "model"),
    ("det", "model.data_preprocessor.pad_size_divisor=0", VALIDATION),
    ("det", "model.backbone.frozen_stages=1", "model.backbone.frozen_stages=-1"),
    # Data
    ("det", "train_dataloader.dataset.pipeline=p[1:]", STEP),
    ("det", "train_dataloader.dataset.pipeline=[p[0], *p[2:]]", STEP),
    ("det", "train_dataloader.dataset.pipeline=p[:-1]", STEP),
    ("cls", "train_dataloader.dataset.pipeline=p[1:]", STEP),
    ("cls", "train_dataloader.dataset.pipeline=p[:-1]", STEP),
    ("det", "val_dataloader.dataset.pipeline=p[:-1]", VALIDATION),
    ("det", "train_dataloader.dataset.pipeline=[dict(type='Reszie')]", "pipeline.0"),
    ("det", "train_dataloader.dataset.pipeline=[dict(type='Resize', scal=9)]", "pipeline.0"),
    (
        "det",
        "train_dataloader.dataset.pipeline=[*p[:2], dict(type='Resize', scale='big'), *p[3:]]",
        STEP,
    ),
    ("det", "train_dataloader.dataset.data_root='data/koko'", "there is no folder"),
    ("det", "train_dataloader.dataset.ann_file='annotations/instances_trian2017.json'", "Did you"),
    (
        "det",
        "train_dataloader.dataset.metainfo.classes=['cat', 'lynx']",
        "nothing is left to learn",
    ),
    ("det", "model.bbox_head.num_classes=20", "model.bbox_head.num_classes=80"),
    ("det", "train_dataloader.batch_size=0", BUILT),
    ("cls", "train_dataloader.batch_size=-1", BUILT),
    ("cls", "train_dataloader.batch_size='2'", BUILT),
    ("cls", "train_dataloader.num_workers=-1", BUILT),
    ("cls", "train_dataloader.num_workers='2'", BUILT),
    ("cls", "train_dataloader.num_workers=2.5", STEP),
    (
        "cls",
        "train_dataloader=dict(batch_size=64, drop_last=True)",
        "train_dataloader: gives no batch",
    ),
    ("cls", "train_dataloader.sampler.type='DefaultSampelr'", "train_dataloader"),
    # Loops, metrics and hooks
    (
        "det",
        "default_hooks.checkpoint=dict(save_best='coco/bbox_mPA', rule='greater')",
        "save_best",
    ),
    ("cls", "default_hooks.checkpoint.save_best='accuracy/top2'", "save_best"),
    ("cls", "default_hooks.checkpoint=dict(save_best='auto', rule='bigger')", BUILT),
    ("cls", "default_hooks.checkpoint.interval='a'", "default_hooks.checkpoint"),
    ("cls", "default_hooks.logger.interval='a'", BUILT),
    ("cls", "default_hooks.checkpoint.max_keep_ckpt=3", "default_hooks.checkpoint.max_keep_ckpt"),
    ("cls", "custom_hooks=[dict(type='EMAHok')]", "custom_hooks.0.type"),
    ("cls", "custom_hooks=[dict(type='EMAHook', momentum=2)]", BUILT),
    ("cls", "custom_hooks=[dict(type='EarlyStoppingHook', monitor='accuracy/top9')]", REMARK),
    ("cls", "train_cfg.val_interval=0", "train_cfg"),
    ("cls", "train_cfg.max_epoch=3", BUILT),
    ("cls", "train_cfg.max_epochs=0", BUILT),
    ("det", "val_evaluator.metric='bbx'", BUILT),
    ("det", "val_evaluator.ann_file=_base_.val_evaluator.ann_file + '/no'", "val_evaluator"),
    ("cls", "model.head=dict(num_classes=2, topk=(1,))", "val_evaluator.topk"),
    # Optimizer and the rest
    ("cls", "optim_wrapper.optimizer.lr='0.1'", BUILT),
    ("cls", "optim_wrapper.optimizer.lr=-0.1", BUILT),
    ("cls", "optim_wrapper.clip_grad.max_nrom=35", STEP),
    ("cls", "param_scheduler=[dict(type='MultiStepLR', milestone=[1])]", BUILT),
    ("cls", "randomness.seed='zero'", BUILT),
    ("cls", "optim_wraper=dict()", "unknown key 'optim_wraper'"),
]
QUICK = ("model.backbone.depth=50", "model.backbone.depth=19", "train_cfg.val_interval=0")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with both data sets and a config for each."""
    home = tmp_path_factory.mktemp("home")
    detector_config(home / "det.py", make_coco(home / "coco"))
    classifier_config(home / "cls.py", make_imagenet(home / "imagenet"))
    return home


@pytest.mark.parametrize(
    ("base", "setting", "answer"),
    [row if row[1] in QUICK else pytest.param(*row, marks=pytest.mark.slow) for row in MISTAKES],
)
def test_mistake_is_told(home, tmp_path, base, setting, answer):
    key, _, value = setting.partition("=")
    first, *words = key.split(".")
    text = f"{first} = {''.join(f'dict({word}=' for word in words)}{value}{')' * len(words)}\n"
    if words[-1:] == ["pipeline"]:
        text = f"p = _base_.{key}\n{text}"
    config = tmp_path / "mine.py"
    config.write_text(f"_base_ = {str(home / base)!r} + '.py'\n{text}")
    said = problems(config)
    if not said:  # only the run itself shows it
        done = complete("mmres", "train", config, "--work-dir", tmp_path / "work", cwd=tmp_path)
        assert done.returncode == 2 or answer == REMARK
        said = done.stdout + done.stderr
        assert answer == REMARK or not list((tmp_path / "work").glob("*.pth"))
    assert answer in said
