"""Backbones start from checkpoints, and say what they have loaded or why not."""

import logging

import pytest
import timm
import torch
from helpers import ROOT, randomise
from helpers.weights import SMALL, caffe_resnet50, maskrcnn_benchmark, resnet50, small_resnet50
from mmdet.models import ResNet as DetResNet
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import save_checkpoint
from torch import nn

from mmres_plugin.models import (
    EDResNet,
    EDSEResNeXt,
    IResGroup,
    IResNet,
    ResNeXt,
    SEResNet,
    SReResNet,
    SReSEResNet,
)
from mmres_plugin.weights import convert_checkpoint
from mmres_plugin.weights.files import write_checkpoint
from mmres_plugin.weights.fit import compare

SHALLOW = (2, 2, 2, 2)
NARROW = (16, 32, 64, 128)
TIMM = dict(stem_channels=64, base_channels=16)  # which a ResNet-50 of NARROW has


@pytest.fixture
def log():
    """What is logged at the level of the start-up messages, or above."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lambda: [line for line in lines if "of the backbone from" in line[1]]
    logger.removeHandler(handler)


@pytest.fixture
def file(tmp_path) -> str:
    """A ResNet-50 of :data:`SMALL`."""
    torch.save(small_resnet50(), tmp_path / "resnet50.pth")
    return str(tmp_path / "resnet50.pth")


def start(cls, checkpoint, arguments=SMALL, **init_cfg) -> nn.Module:
    """A backbone of 50 layers with these arguments, which starts from the checkpoint."""
    init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint), **init_cfg)
    backbone = cls(50, init_cfg=init_cfg, **arguments)
    backbone.init_weights()
    return backbone


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        (resnet50, {}),
        (caffe_resnet50, SMALL),
        (lambda: randomise(timm.create_model("resnet50", channels=NARROW)).state_dict(), TIMM),
    ],
    ids=["torchvision", "detectron2 caffe", "timm"],
)
def test_sreresnet_starts_from_resnet(tmp_path, log, content, arguments):
    path = tmp_path / "resnet50.pth"
    theirs = content()
    torch.save(theirs, path)
    ours = start(SReResNet, path, arguments).state_dict()
    for name, tensor in ours.items():
        if name in theirs:
            assert torch.equal(tensor, theirs[name]), name
        else:
            assert name.endswith("num_batches_tracked")
    [(level, line)] = log()
    assert level == "INFO"
    count = sum(not name.endswith("num_batches_tracked") for name in ours)
    assert line.startswith(f"loaded {count} of {count} tensors of the backbone from {path}")
    assert ("2 only in the file: fc.weight, fc.bias" in line) == ("fc.weight" in theirs)


def test_prefix(tmp_path, log):
    """Behind that of DataParallel, too; in each way to write it."""
    path = tmp_path / "ours.safetensors"
    theirs = small_resnet50()
    content = {f"module.backbone.{name}": tensor for name, tensor in theirs.items()}
    write_checkpoint({"meta": {}, "state_dict": content}, path)
    for kind, prefix in (("Pretrained", "backbone."), (PretrainedInit, "backbone")):
        init_cfg = [dict(type=kind, checkpoint=str(path), prefix=prefix)]
        backbone = SReResNet(50, init_cfg=init_cfg, **SMALL)
        backbone.init_weights()
        assert torch.equal(backbone.conv1.weight, theirs["conv1.weight"])
        assert log()[-1][1].startswith(f"loaded 265 of 265 tensors of the backbone from {path}")


@pytest.mark.parametrize(
    ("content", "cls", "init_cfg", "message"),
    [
        (
            small_resnet50,
            SReResNet,
            dict(prefix="backbone."),
            "has only 0 of 265 tensors .* with prefix='backbone.'. The file has names such as "
            "conv1.weight, .*; the backbone has conv1.weight, .* prefix=None would match 100%",
        ),
        (
            lambda: {f"model.backbone.{name}": tensor for name, tensor in small_resnet50().items()},
            SReResNet,
            {},
            "with prefix=None.* prefix='model.backbone.' would match 100%",
        ),
        (maskrcnn_benchmark, SReResNet, {}, "'maskrcnn-benchmark': convert the file, with mmres"),
        (small_resnet50, IResGroup, {}, "No other prefix would do: the file is of another network"),
        # Most of the tensors fit these two.
        (
            small_resnet50,
            IResNet,
            {},
            r"another network.*no place for \d+ tensors .*\(.*downsample.*allow_partial=True",
        ),
        (
            lambda: SReResNet(101, **SMALL).state_dict(),
            SReResNet,
            {},
            r"or depth.*\(layer3.6.conv1.weight",
        ),
    ],
    ids=["none needed", "none given", "foreign", "other network", "other family", "other depth"],
)
def test_next_to_nothing_is_an_error(tmp_path, content, cls, init_cfg, message, log):
    torch.save(content(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        start(cls, tmp_path / "a.pth", **init_cfg)
    assert not log()


@pytest.mark.parametrize(
    ("cls", "arguments", "more", "level", "said"),
    [
        (IResGroup, {}, dict(allow_partial=True), "WARNING", "loaded 5 of 265 tensors"),
        (SReResNet, dict(num_stages=3, out_indices=(2,)), {}, "INFO", "loaded 215 of 215"),
        (SReSEResNet, {}, {}, "WARNING", "64 only in the model: layer1.0.se_layer.conv1.conv"),
    ],
    ids=["next to nothing, as asked for", "fewer stages than the file", "gates are missing"],
)
def test_a_part_is_loaded(file, log, cls, arguments, more, level, said):
    backbone = start(cls, file, {**SMALL, **arguments}, **more)
    assert torch.equal(backbone.conv1.weight, torch.load(file)["conv1.weight"])
    [(found, line)] = log()
    assert (found, said in line) == (level, True), line


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (
            small_resnet50,
            dict(se_ratio=16),
            r"lacks 12 tensors .*frozen_stages=1 \(layer1.0.se_layer",
        ),
        (
            small_resnet50,
            dict(in_channels=4),
            r"lacks 1 tensors .*\(conv1.weight\): set frozen_stages=-1 to train them",
        ),
        (
            lambda: DetResNet(depth=50, deep_stem=True, **SMALL).state_dict(),
            dict(deep_stem=True),
            r"lacks 15 tensors .*stem.0.conv.weight, .*names of 'torchvision': convert the file",
        ),
        (
            lambda: add_prefix(DetResNet(depth=50, deep_stem=True, **SMALL).state_dict()),
            dict(deep_stem=True, prefix="backbone."),
            "lacks 15 tensors .*names of 'mmdetection': convert the file",
        ),
    ],
    ids=["excitation", "four channels", "deep stem", "deep stem of a detector"],
)
def test_what_stays_frozen_must_be_in_the_file(tmp_path, log, content, arguments, message):
    torch.save(content(), tmp_path / "a.pth")
    prefix = arguments.pop("prefix", None)
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "a.pth"), prefix=prefix)
    with pytest.raises(ValueError, match=message):
        SReResNet(50, frozen_stages=1, init_cfg=init_cfg, **SMALL, **arguments).init_weights()
    assert not log()
    SReResNet(50, frozen_stages=-1, init_cfg=init_cfg, **SMALL, **arguments).init_weights()
    assert log()[0][0] == "WARNING"


def test_another_norm_is_no_other_network(file, log):
    """The convolutions are taken, and the rest is named; it must not stay frozen."""
    other = dict(norm_cfg=dict(type="GN", num_groups=8), **SMALL)
    backbone = start(SReResNet, file, dict(frozen_stages=-1, **other))
    name = "layer1.0.conv3.weight"
    assert torch.equal(backbone.state_dict()[name], torch.load(file)[name])
    assert "only in the file: bn1.weight" in log()[0][1]
    with pytest.raises(ValueError, match=r"lacks \d+ tensors .*gn1.weight.*frozen_stages=-1"):
        start(SReResNet, file, dict(frozen_stages=1, **other))


@pytest.mark.filterwarnings("error")
def test_models_that_rename_old_names():
    """They are asked by a copy without memory, and stay as they are; torch warns of nothing."""

    class Renaming(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *rest):
            state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}old").reshape(2, 2)
            super()._load_from_state_dict(state_dict, prefix, *rest)

    model = nn.Sequential(Renaming(2, 2), nn.BatchNorm1d(2))
    norm = {f"1.{name}": t for name, t in model[1].state_dict().items() if "num" not in name}
    old = {"0.old": torch.ones(4), "0.bias": torch.ones(2), **norm}
    before = model[0].weight.clone()
    fit = compare(model, old)
    assert fit.problem is None
    assert torch.equal(model[0].weight, before)
    model.load_state_dict(fit.tensors, strict=False)
    assert torch.equal(model[0].weight, torch.ones(2, 2))
    assert compare(model, {"0.older": torch.ones(4)}).problem


def add_prefix(state_dict: dict) -> dict:
    return {f"backbone.{name}": tensor for name, tensor in state_dict.items()}


def test_missing_file_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        start(IResNet, "checkpoints/iresnet50_8xb32_in1k.pth", prefix="backbone.")
    for part in (
        f"(looked for in {tmp_path})",
        "mmres convert FILE checkpoints/iresnet50_8xb32_in1k.pth --model iresnet50_8xb32_in1k",
        "mmres train configs/iresnet/iresnet50_8xb32_in1k.py",
    ):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint work_dirs/a.pth .*Train it first"):
        start(IResNet, "work_dirs/a.pth")


def test_loaded_norms_are_not_zeroed(file):
    init_cfg = dict(type="Pretrained", checkpoint=file)
    for cfg in (init_cfg, [dict(type="Kaiming", layer="Conv2d"), init_cfg]):
        backbone = SReResNet(50, zero_init_residual=True, init_cfg=cfg, **SMALL)
        backbone.init_weights()
        name = "layer1.0.bn3.weight"
        assert torch.equal(backbone.state_dict()[name], torch.load(file)[name])
        assert backbone.init_cfg == cfg


def test_a_second_initialisation_does_nothing(file, log):
    backbone = start(SReResNet, file)
    nn.init.zeros_(backbone.conv1.weight)
    backbone.init_weights()
    assert not backbone.conv1.weight.any()
    assert len(log()) == 1


FAMILIES = (SReResNet, EDSEResNeXt)
MORE = (IResNet, IResGroup, EDResNet, SEResNet, ResNeXt)


def digits(config: str, family: type, **backbone) -> nn.Module:
    """The model of a config of the digits with another backbone, as a user changes it."""
    cfg = Config.fromfile(ROOT / f"configs/digits/{config}_digits.py")
    cfg.model.backbone.update(type=f"mmres_plugin.{family.__name__}", depth=SHALLOW, **backbone)
    cfg.model.backbone.update(stem_channels=32, base_channels=32)
    feat_dim = family(SHALLOW, base_channels=32).feat_dim
    if "neck" in cfg.model and "in_channels" in cfg.model.neck:
        cfg.model.neck.in_channels = [feat_dim // 4, feat_dim // 2, feat_dim]
    else:
        cfg.model.head.in_channels = feat_dim
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize(
    "family", [*FAMILIES, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE)]
)
def test_transfer_to_detection_and_back(tmp_path, family, log):
    """The recipe of docs/weights.md: the same numbers in the classifier, the detector, and back."""
    first, second, third = (str(tmp_path / f"{i}.pth") for i in range(3))
    start = dict(type="Pretrained", prefix="backbone.")
    source = randomise(digits("sreresnet18", family))
    save_checkpoint({"state_dict": source.state_dict(), "meta": {}}, first)
    middle = digits("fcos_sreresnet18", family, init_cfg=dict(**start, checkpoint=first))
    middle.init_weights()
    save_checkpoint({"state_dict": middle.state_dict(), "meta": {}}, second)
    assert convert_checkpoint(second, third).source == "mmdetection"
    target = digits("sreresnet18", family, init_cfg=dict(**start, checkpoint=third))
    target.init_weights()
    assert len(log()) == 2
    for _, line in log():
        loaded, total = line.split()[1:4:2]
        assert loaded == total
    expected = source.backbone.state_dict()
    for backbone in (middle.backbone, target.backbone):
        assert expected.keys() == backbone.state_dict().keys()
        for key, tensor in backbone.state_dict().items():
            assert torch.equal(tensor, expected[key]), key
