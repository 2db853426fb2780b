"""Each thing a user can get wrong is named before the run, with what to do about it."""

import os
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from helpers import ENV, ROOT, complete, run
from helpers.checks import problems, remarks
from helpers.configs import NARROW_DETECTOR, classifier_config, detector_config
from helpers.data import make_coco, make_imagenet
from mmengine.config import Config

import mmres_plugin  # noqa: F401
from mmres_plugin.checks import Setup, check
from mmres_plugin.checks.data import missing_data
from mmres_plugin.checks.names import unknown_names
from mmres_plugin.config import build_model, load_config
from mmres_plugin.errors import UserError, close_name
from mmres_plugin.weights.files import open_checkpoint


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with both data sets, a config for each, and a checkpoint that fits the detector."""
    home = tmp_path_factory.mktemp("home")
    detector_config(home / "det.py", make_coco(home / "coco"), NARROW_DETECTOR)
    narrow = "model['backbone'].update(stem_channels=8, base_channels=8)\n"
    narrow += "model['head'] = dict(in_channels=64)\n"
    classifier_config(home / "cls.py", make_imagenet(home / "imagenet"), narrow)
    state = build_model(load_config(str(home / "det.py"))).state_dict()
    torch.save({"state_dict": state, "meta": {}}, home / "det.pth")
    state = build_model(load_config(str(home / "cls.py"))).state_dict()
    torch.save({"state_dict": state, "meta": {}}, home / "cls.pth")
    return home


@pytest.mark.parametrize("name", ["det", "cls"])
def test_good_config_passes(home, name):
    assert problems(home / f"{name}.py") == ""
    assert problems(home / f"{name}.py", "test", load_from=str(home / f"{name}.pth")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "param_scheduler = [dict(type='LinearLR', end=2, convert_to_iter_based=True),\n"
        "    dict(type='CosineAnnealingLR', begin=2)]\n"
        "train_cfg = dict(max_epochs=10)\n",
        "param_scheduler = [dict(type='LinearLR', by_epoch=False, end=7),\n"
        "    dict(type='PolyLR', by_epoch=False, begin=7)]\n",
        "model = dict(backbone=dict(type='mmpretrain.ConvNeXt', arch='atto', _delete_=True),\n"
        "    neck=None, head=dict(in_channels=320))\n",  # frozen_stages=0 freezes nothing
        "model = dict(backbone=dict(norm_eval=True, norm_cfg=dict(type='GN', num_groups=8)))\n",
        "model = dict(backbone=dict(norm_cfg=dict(type='MMSyncBN')))\n",
    ],
    ids=["epochs", "iterations", "frozen_stages=0", "no batch norms", "MMSyncBN"],
)
def test_no_false_alarm(home, tmp_path, text):
    (tmp_path / "mine.py").write_text(f"_base_ = {str(home / 'cls.py')!r}\n{text}")
    assert problems(tmp_path / "mine.py") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco",  # its neck takes the maps from the last on
        "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance",  # one stride for five maps
        "ddod/ddod_r50_fpn_1x_coco",  # needs more than 256 pixels
        "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",  # and its own first weights
    ],
)
def test_detectors_of_mmdetection_pass(home, tmp_path, name):
    cfg = Config.fromfile(f"{mmdet.__path__[0]}/.mim/configs/{name}.py")
    text = cfg.pretty_text.replace("data/coco/", f"{home}/coco/")
    (tmp_path / "mine.py").write_text(text)
    options = {
        f"{loop}_dataloader__{key}": value
        for loop in ("train", "val")
        for key, value in (("num_workers", 0), ("batch_size", 2))
    }
    assert problems(tmp_path / "mine.py", **options) == ""


def test_unknown_task(home):
    with pytest.raises(ValueError, match="task is 'fly', must be one of 'train', 'test'"):
        check(Config(), "fly")


# Config files and options


def test_missing_config_suggests_a_name(home):
    said = problems(home / "dett.py")
    assert f"there is no config {home}/dett.py" in said
    assert f"Did you mean {home}/det.py?" in said
    said = problems(Path("fcos_sreresnet50_1.py"))
    assert "configs/sreresnet/fcos_sreresnet50_1x.py?" in said


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("model = dict(", "SyntaxError"),
        ("_base_ = 'nothing_here.py'", "nothing_here.py"),
        ("custom_imports = dict(imports=['no_such_module'])", "no_such_module"),
        ("import no_such_module\nx = no_such_module.a", "no_such_module"),
        ("from mmdet.models import FCSO\nmodel = dict(type=FCSO)", "FCSO from mmdet.models"),
        ("import os.path as osp\nfrom mmdet.models import FCOS", "keeps the module 'osp'"),
        ("default_scope = ['mmdet']", "default_scope is ['mmdet'], must be a name such as"),
        ("optim_wraper = dict()", "unknown key 'optim_wraper'. Did you mean 'optim_wrapper'?"),
    ],
)
def test_faulty_config(tmp_path, text, answer):
    (tmp_path / "bad.py").write_text(text)
    said = problems(tmp_path / "bad.py")
    assert answer in said
    assert f"{tmp_path}/bad.py" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "FCOS"),
        ("train_dataloader", [1]),
        ("val_evaluator", "CocoMetric"),
        ("optim_wrapper.paramwise_cfg", [1]),
        ("train_dataloader.dataset.data_prefix", ["train2017"]),
    ],
)
def test_no_dict_where_one_is_due(home, tmp_path, key, value):
    (tmp_path / "m.py").write_text(f"_base_ = {str(home / 'det.py')!r}\n_base_.{key} = {value!r}\n")
    assert f"{tmp_path}/m.py: {key} is {value!r}, must be a dict" in problems(tmp_path / "m.py")


@pytest.mark.parametrize("value", [3, [None], {"type": "Nope"}])
def test_checks_bear_any_value(home, value):
    """What MMEngine says of it, it says itself."""
    for key in ("train_dataloader.dataset.pipeline", "val_evaluator.topk", "custom_hooks"):
        problems(home / "det.py", **{key: value})


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("modle.type", "the config has no 'modle'. Did you mean 'model'?"),
        ("model.bakbone.depth", "'model' has no 'bakbone'. Did you mean 'backbone'?"),
        ("model.backbone.dpeth", "'model.backbone' has no 'dpeth'. Did you mean 'depth'?"),
        ("nonsense", "the config has no 'nonsense'. It has: "),
        ("model.bakcbone.some.deep", "'model' has no 'bakcbone'. Did you mean 'backbone'?"),
        ("param_scheduler.7.end", "'param_scheduler' has 2 items: '7' must be 0 to 1."),
        ("model.backbone.depth.x", "'model.backbone.depth' is 18, which has no 'x'."),
    ],
)
def test_option_that_names_nothing(home, key, answer):
    assert f"--cfg-options {key}: {answer}" in problems(home / "det.py", **{key: 1})


@pytest.mark.parametrize(
    "key",
    [
        "model.backbone.with_cp",
        "optim_wrapper.clip_grad.max_norm",
        "optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult",
        "randomness.seed",
        "compile",
        "train_dataloader.dataset.pipeline.2.keep_ratio",
        "param_scheduler.0.verbose",
        "custom_hooks",
    ],
)
def test_option_that_adds_a_setting(home, key):
    cfg = load_config(str(home / "det.py"), {key: 1})
    node = cfg
    for word in key.split("."):
        node = node[int(word)] if word.isdigit() else node[word]
    assert node == 1


def test_slips_are_told_from_other_words():
    assert close_name("optim_wraper", ["optimizer", "optim_wrapper"]) == "optim_wrapper"
    for name, other in (("conv_cfg", "env_cfg"), ("val_interval", "interval")):
        assert close_name(name, [other]) is None


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["model.backbone.depth=34", "train_dataloader.num_workers=0"], ""),
        (["depth"], "--cfg-options takes key=value pairs"),
        (["model.backbone.out_indices=[1,2"], "Imbalanced brackets"),
    ],
)
def test_options_as_words(home, options, answer):
    if answer:
        with pytest.raises(UserError, match=answer):
            load_config(home / "det.py", options)
    else:
        assert load_config(home / "det.py", options).model.backbone.depth == 34


# Names and arguments


def test_all_unknown_types_are_named(home):
    said = problems(
        home / "det.py",
        model__backbone__type="mmres_plugins.SReResNet",
        model__bbox_head__loss_cls={"type": "FocalLos", "_delete_": True},
        train_dataloader__dataset__pipeline={"1": {"type": "LoadAnotations"}},
        default_hooks__logger__type="LogerHook",
        val_evaluator__type="CocoMetrc",
        optim_wrapper__optimizer__type="SDG",
        visualizer__type="DetLocalVisualiser",
    )
    for place, meant in (
        ("model.backbone.type", "mmres_plugin.SReResNet"),
        ("model.bbox_head.loss_cls.type", "FocalLoss"),
        ("train_dataloader.dataset.pipeline.1.type", "LoadAnnotations"),
        ("default_hooks.logger.type", "LoggerHook"),
        ("val_evaluator.type", "CocoMetric"),
        ("optim_wrapper.optimizer.type", "SGD"),
        ("visualizer.type", "DetLocalVisualizer"),
    ):
        line = next(line for line in said.splitlines() if place in line)
        assert f"Did you mean '{meant}'?" in line


def test_arguments_that_no_class_has(home, tmp_path):
    """CheckpointHook would take ``max_keep_ckpt`` and fail when the first epoch is over."""
    (tmp_path / "slips.py").write_text(
        f"_base_ = {str(home / 'det.py')!r}\n"
        "default_hooks = dict(\n"
        "    checkpoint=dict(max_keep_ckpt=3, priority='LOW'),  # one slip, one taken out before\n"
        "    logger=dict(intervall=3),\n"
        ")\n"
        "optim_wrapper = dict(optimizer=dict(momentun=0.9), paramwise_cfg=dict())\n"
        "train_dataloader = dict(batch_sise=3)\n"
        "val_evaluator = dict(anfile='x')\n"
    )
    said = problems(tmp_path / "slips.py")
    assert said.count("has no argument") == 5
    for line in (
        "default_hooks.checkpoint.max_keep_ckpt: CheckpointHook has no argument",
        "default_hooks.logger.intervall: LoggerHook has no argument 'intervall'. "
        "Did you mean 'interval'?",
        "optim_wrapper.optimizer.momentun: SGD has no argument 'momentun'. "
        "Did you mean 'momentum'?",
        "train_dataloader.batch_sise: DataLoader has no argument 'batch_sise'. "
        "Did you mean 'batch_size'?",
        "val_evaluator.anfile: CocoMetric has no argument 'anfile'.",
    ):
        assert line in said


@pytest.mark.slow
def test_config_that_a_training_has_stored(home, tmp_path):
    """It has what `mmres train` added, `SafeCheckpointHook` among it."""
    run("mmres", "train", home / "cls.py", "--work-dir", tmp_path)
    assert "SafeCheckpointHook" in (tmp_path / "cls.py").read_text()
    assert problems(tmp_path / "cls.py") == ""
    said = problems(tmp_path / "cls.py", default_hooks__checkpoint__max_keep_ckpt=3)
    assert "SafeCheckpointHook has no argument 'max_keep_ckpt'" in said


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("paramwise_cfg=dict(norm_decay_multi=0)", "norm_decay_multi: nothing is known to read"),
        ("paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_multi=1)))", "mean 'lr_mult'?"),
        ("paramwise_cfg=dict(custom_keys=dict(bakbone=dict()))", "Did you mean 'backbone'?"),
        (")\nmodel = dict(test_cfg=dict(score_treshold=1)", "Did you mean 'score_thr'?"),
        (")\ntrain_cfg = dict(val_begin=9", "val_begin is 9, after max_epochs=2"),
        (
            ")\ndefault_hooks = dict(checkpoint=dict(interval=9, save_last=False)",
            "no checkpoint is saved",
        ),
    ],
)
def test_settings_that_do_nothing(home, tmp_path, text, remark):
    (tmp_path / "m.py").write_text(
        f"_base_ = {str(home / 'det.py')!r}\noptim_wrapper = dict({text})"
    )
    assert problems(tmp_path / "m.py") == ""
    assert remark in remarks(tmp_path / "m.py")


@pytest.mark.slow
def test_mmcv_without_operators(home, tmp_path):
    """MMCV built without a look at torch can be imported, and fails only within MMDetection."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mmcv._ext'] = None\n")
    env = {**ENV, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ENV['PYTHONPATH']}"}
    words = ("-m", "mmres_plugin", "train", home / "det.py")
    done = complete(sys.executable, *words, env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert "detectors need mmcv's compiled operators" in done.stderr
    assert "Traceback" not in done.stderr


START = dict(type="Pretrained", checkpoint="work_dirs/sreresnet18_digits/epoch_4.pth")
TRAIN_FILE = "train_dataloader__dataset__ann_file"


@pytest.mark.parametrize(
    ("config", "options", "answers"),
    [
        # The model
        ("det", {"model__neck__in_channels": 9}, ["model: cannot be built.", "AssertionError"]),
        ("det", {"model__type": "NoSuchThing"}, ["model: cannot be built. NoSuchThing is not in"]),
        ("det", {"val_evaluator": None}, ["no 'val_evaluator', which is needed to train"]),
        ("det", {"optim_wrapper": None}, ["no 'optim_wrapper'"]),
        ("det", {"model__backbone__depth": 50}, ["model.neck.in_channels=[64,128,256]"]),
        ("det", {"model__backbone__out_indices": (0, 1, 2)}, ["neck.in_channels=[8,16,32]"]),
        (
            "det",
            {"model__neck__out_channels": 16},
            ["--cfg-options model.bbox_head.in_channels=16"],
        ),
        # Files
        ("det", {TRAIN_FILE: "a/train.json"}, ["there is no file: {home}/coco/a/train.json"]),
        ("det", {TRAIN_FILE: "annotations/instances_trian2017.json"}, ["2017.json. Did you mean"]),
        ("cls", {"load_from": 5}, ["load_from: there is no checkpoint file"]),
        ("cls", {"load_from": "{home}/dte.pth"}, ["{home} holds: det.pth, cls.pth."]),
        (
            "cls",
            {"load_from": "{home}/det.pth", "model__backbone__depth": 101},
            ["load_from: ", "of another shape: backbone.layer1.0.conv1.weight"],
        ),
        (
            "cls",
            {"load_from": "{home}/cls.pth", "resume": True},
            ["--resume: ", "--cfg-options load_from={home}/cls.pth"],
        ),
        ("cls", {"load_from": "modelzo://resnet18"}, ["no address starts with modelzo://. Did"]),
        ("cls", {"load_from": "torchvision://resnet5O"}, ["Did you mean 'resnet50'?"]),
        ("cls", {"load_from": "open-mmlab://resnet5O_v1c"}, ["Did you mean 'resnet50_v1c'?"]),
        *(
            ("cls", {"model__backbone__init_cfg": dict(START, checkpoint=name)}, [answer])
            for name, answer in (
                ("modelzo://resnet18", "no address starts with modelzo://. Did you mean"),
                ("mmres_plugin://iresnet18_8xb32_in1", "Did you mean 'iresnet18_8xb32_in1k'?"),
                ("mmres_plugin://iresnet18_8xb32_in1k", "mmres convert FILE checkpoints/iresnet18"),
            )
        ),
        (
            "det",
            {"model__backbone__init_cfg": dict(type="Pretrained")},
            ["model.backbone.init_cfg: type='Pretrained' needs a checkpoint"],
        ),
        ("det", {"model__backbone__init_cfg": "x.pth"}, ["must be a dict, or a list of dicts"]),
        (
            "det",
            {"model__backbone__init_cfg": START},
            [
                "there is no checkpoint work_dirs/sreresnet18_digits/epoch_4.pth",
                "mmres train ",
                "configs/digits/sreresnet18_digits.py",  # which makes it
                "--cfg-options model.backbone.init_cfg=None",
            ],
        ),
    ],
)
def test_wrong_setting(home, config, options, answers):
    options = {k: v.format(home=home) if isinstance(v, str) else v for k, v in options.items()}
    said = problems(home / f"{config}.py", **options)
    for answer in answers:
        assert answer.format(home=home) in said


# Data


def test_missing_data_root_is_named_once(tmp_path):
    detector_config(tmp_path / "det.py", tmp_path / "coco")
    said = problems(tmp_path / "det.py")
    assert said.count(f"there is no folder: {tmp_path}/coco\n") == 1
    assert "train_dataloader.dataset.data_root, val_dataloader.dataset.data_root" in said
    assert f"ln -s /path/to/coco {tmp_path}/coco" in said
    assert "test_dataloader" not in said
    assert "test_dataloader.dataset.data_root" in problems(tmp_path / "det.py", "test")
    own = {f"{loop}_dataloader.dataset.ann_file": "mine.json" for loop in ("train", "val")}
    said = problems(tmp_path / "det.py", **own)
    assert "--cfg-options train_dataloader.dataset.data_root=" in said and "COCO 2017" not in said


def test_each_missing_part_is_named(tmp_path):
    root = make_coco(tmp_path / "coco")
    detector_config(tmp_path / "det.py", root)
    (root / "annotations/instances_train2017.json").unlink()
    (root / "annotations/instances_val2017.json").write_text("")
    for image in (root / "train2017").iterdir():
        image.unlink()
    said = problems(tmp_path / "det.py")
    assert f"there is no file: {root}/annotations/instances_train2017.json" in said
    assert f"this file is empty: {root}/annotations/instances_val2017.json" in said
    assert f"this folder is empty: {root}/train2017" in said
    assert "(needed by train_dataloader.dataset.data_prefix.img)" in said
    assert "val_evaluator.ann_file" in said


def test_wrapped_data_sets_are_looked_into(tmp_path):
    root = make_coco(tmp_path / "coco")
    wrap = """
train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(
    type='ConcatDataset', datasets=[
        _base_.train_dataloader.dataset, dict(type='CocoDataset', data_root='{}/b')])))
"""
    detector_config(tmp_path / "det.py", root)
    (tmp_path / "wrapped.py").write_text("_base_ = 'det.py'\n" + wrap.format(root))
    said = problems(tmp_path / "wrapped.py")
    assert f"there is no folder: {root}/b" in said
    assert "train_dataloader.dataset.dataset.datasets.1.data_root" in said


def test_names_of_another_scope(home):
    """As inherited ones are marked: a project on MMDetection has a default scope of its own."""
    cfg = load_config(str(home / "det.py"))
    for loop in ("train", "val"):
        cfg[f"{loop}_dataloader"].dataset._scope_ = "mmdet"
    assert list(unknown_names(Setup(cfg, "train"))) == []
    cfg.default_scope = "mmpretrain"
    said = list(unknown_names(Setup(cfg, "train")))
    assert not [text for text in said if "dataset.type" in text]
    cfg.train_dataloader.dataset._scope_ = "mmpretrain"
    assert "train_dataloader.dataset.type" in "".join(unknown_names(Setup(cfg, "train")))


def test_data_behind_a_storage_backend(tmp_path):
    """Its paths look local."""
    dataset = dict(type="mmdet.CocoDataset", data_root=str(tmp_path / "gone"), ann_file="a.json")
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    assert list(missing_data(Setup(cfg, "train").sets))
    dataset["backend_args"] = dict(backend="petrel")
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    assert list(missing_data(Setup(cfg, "train").sets)) == []


def test_imagenet_layout(tmp_path):
    classifier_config(tmp_path / "cls.py", tmp_path / "imagenet")
    assert f"{tmp_path}/imagenet/train/<class>/*.JPEG" in problems(tmp_path / "cls.py")
    root = make_imagenet(tmp_path / "imagenet")
    os.rename(root / "val", root / "validation")
    said = problems(tmp_path / "cls.py")
    assert f"there is no folder: {root}/val\n" in said
    assert "(needed by val_dataloader.dataset.split)" in said
    digits = dict(train_dataloader__dataset__data_root="data/digits/cls")
    assert "mmres digits" in problems(tmp_path / "cls.py", **digits)


# Checkpoints


def test_no_checkpoint(home, tmp_path):
    """What else is no checkpoint, `tests/weights/test_files.py` tries."""
    bad = tmp_path / "bad.pth"
    bad.write_bytes((home / "cls.pth").read_bytes()[:10_000])
    answer = f"{bad} is not a checkpoint, or is damaged or not complete"
    assert f"load_from: {answer}" in problems(home / "cls.py", load_from=str(bad))
    assert f"checkpoint: {answer}" in problems(home / "cls.py", "test", load_from=str(bad))


def test_checkpoint_of_another_depth(home):
    options = dict(load_from=str(home / "det.pth"), model__backbone__depth=34)
    said = problems(home / "det.py", "test", **options)
    assert "does not fit the config's model." in said
    assert "only in the model: backbone.layer1.2.conv1.weight" in said


def test_fine_tuning_with_another_head_is_allowed(home):
    options = dict(load_from=str(home / "cls.pth"), model__head__num_classes=7)
    assert problems(home / "cls.py", "train", **options) == ""
    said = problems(home / "cls.py", "test", **options)
    assert "head.fc.weight (file (1000, 64), model (7, 64))" in said


def test_old_files_and_wrapped_names_fit(home, tmp_path):
    """Before the zip format, from DataParallel, and without batch counters."""
    state = torch.load(home / "cls.pth")["state_dict"]
    state = {f"module.{k}": v for k, v in state.items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert problems(home / "cls.py", "test", load_from=str(tmp_path / "old.pth")) == ""
    assert len(open_checkpoint(tmp_path / "old.pth", "x")) == len(state)


@pytest.mark.parametrize(
    ("prefix", "answer"),
    [
        ("backbone.", None),
        ("backbone", None),
        ("bakbone.", "{} has only 0 of 100 tensors of the backbone with prefix='bakbone.'"),
        (None, "{} has only 0 of 100 tensors of the backbone with prefix=None"),
    ],
)
def test_pretrained_backbone(home, prefix, answer):
    """A wrong prefix is said; left alone it would only show as bad results after the training."""
    start = dict(type="Pretrained", checkpoint=str(home / "cls.pth"), prefix=prefix)
    said = problems(home / "det.py", model__backbone__init_cfg=start)
    assert answer.format(home / "cls.pth") in said if answer else said == ""
    if answer:
        assert "prefix='backbone.' would match 100%" in said
    start["checkpoint"] = "torchvision://resnet18"  # fetched by name: not looked at
    assert problems(home / "det.py", model__backbone__init_cfg=start) == ""


def test_weights_for_other_images_are_a_remark(home, tmp_path):
    config = tmp_path / "caffe.py"
    start = "dict(type='Pretrained', checkpoint='torchvision://resnet50')"
    config.write_text(
        f"_base_ = {str(home / 'det.py')!r}\n"
        "model = dict(data_preprocessor=dict(std=[1.0, 1.0, 1.0], bgr_to_rgb=False),\n"
        f"    backbone=dict(depth=50, style='caffe', init_cfg={start}),\n"
        "    neck=dict(in_channels=[64, 128, 256]))\n"
    )
    assert problems(config) == ""
    said = remarks(config)
    assert "model.backbone.init_cfg: these are weights of torchvision or timm, whose" in said
    assert "set mean=[123.675, 116.28, 103.53]" in said
    config = ROOT / "configs/cifar/resnet50-in1k-pre_1xb128_cifar100.py"  # its images are RGB
    assert remarks(config) == ""


# What the model learns from

FROZEN_NORMS = dict(type="BN", requires_grad=False)


@pytest.mark.parametrize(
    ("options", "answer", "find"),
    [
        ({"frozen_stages": 0, "norm_eval": True}, "frozen_stages=-1 model.backbone.norm", problems),
        ({"norm_eval": True}, "norm_eval=False", remarks),  # the rest learns around norms
        ({"norm_cfg": FROZEN_NORMS}, "norm_cfg.requires_grad=True", remarks),
    ],
)
def test_frozen_random_weights(home, options, answer, find):
    options = {f"model__backbone__{key}": value for key, value in options.items()}
    said = find(home / "det.py", **options)
    assert "model.backbone: starts from random weights and keeps some of them as they are" in said
    assert f"--cfg-options model.backbone.{answer}" in said


def test_frozen_weights_that_are_loaded(home):
    options = dict(model__backbone__frozen_stages=0, model__backbone__norm_eval=True)
    assert problems(home / "det.py", load_from=str(home / "det.pth"), **options) == ""
    start = dict(type="Pretrained", checkpoint=str(home / "cls.pth"), prefix="backbone.")
    assert problems(home / "det.py", model__backbone__init_cfg=start, **options) == ""


def test_training_that_is_complete(home, tmp_path):
    content = torch.load(home / "cls.pth")
    content |= {"meta": {"epoch": 2, "iter": 8}, "message_hub": {}, "optimizer": {}}
    torch.save(content, tmp_path / "epoch_2.pth")
    options = dict(resume=True, load_from=str(tmp_path / "epoch_2.pth"))
    assert problems(home / "cls.py", **options) == ""
    assert "no step is left to train" in remarks(home / "cls.py", **options)
    assert remarks(home / "cls.py", train_cfg__max_epochs=3, **options) == ""
