"""Names of every source become ours, and the network computes what the original computed.

Those of the authors of IResNet and ED-Net are tested in test_golden.py.
"""

import re
from copy import deepcopy
from functools import partial

import pytest
import timm
import torch
from helpers import ROOT, call, randomise
from helpers.weights import SMALL, maskrcnn_benchmark, resnet50, small_resnet50
from mmdet.models.backbones import ResNet as DetResNet
from mmdet.models.backbones import ResNetV1d as DetResNetV1d
from torch import nn

import mmres_plugin
from mmres_plugin.errors import UserError
from mmres_plugin.models import (
    IResGroup,
    IResNet,
    ResNeXt,
    SEResNet,
    SEResNeXt,
    SReResNet,
    SReResNetV1d,
)
from mmres_plugin.weights import convert_checkpoint, convert_state_dict, read_checkpoint, recognise
from mmres_plugin.weights.convert import convert_names
from mmres_plugin.weights.files import sha256

NARROW = dict(stem_channels=64, base_channels=16)
TIMM = {
    "resnet18": ("torchvision", SReResNet, dict(depth=18, recursions=0)),
    "resnet50": ("torchvision", SReResNet, dict(depth=50, recursions=0)),
    "resnext50_32x4d": ("torchvision", ResNeXt, dict(depth=50, width_per_group=1)),
    "resnext101_32x4d": ("torchvision", ResNeXt, dict(depth=101, width_per_group=1)),
    "seresnet18": ("torchvision", SEResNet, dict(depth=18)),
    "seresnet50": ("torchvision", SEResNet, dict(depth=50)),
    "seresnext50_32x4d": ("torchvision", SEResNeXt, dict(depth=50, width_per_group=1)),
    "seresnext101_32x4d": ("torchvision", SEResNeXt, dict(depth=101, width_per_group=1)),
    "resnet50c": ("timm-deep-stem", SReResNet, dict(depth=50, recursions=0, deep_stem=True)),
    "resnet18d": ("timm-deep-stem", SReResNetV1d, dict(depth=18, recursions=0)),
    "resnet50d": ("timm-deep-stem", SReResNetV1d, dict(depth=50, recursions=0)),
}


def load(backbone: nn.Module, state_dict: dict) -> nn.Module:
    """``backbone`` with exactly the tensors of a converted state dict, head aside."""
    tensors = {n: t for n, t in state_dict.items() if n.startswith("backbone.")}
    backbone.load_state_dict({n.removeprefix("backbone."): t for n, t in tensors.items()})
    return backbone.eval()


@torch.no_grad()
def equal(ours: nn.Module, theirs, size: tuple[int, int]) -> None:
    """Both compute the same last feature map, in float64."""
    image = torch.rand(1, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(ours(image)[-1], theirs(image), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if "101" in n else n for n in TIMM]
)
def test_timm(name):
    source, build, arguments = TIMM[name]
    theirs = randomise(timm.create_model(name, channels=(16, 32, 64, 128))).double()
    assert recognise(theirs.state_dict()) == source
    converted = convert_state_dict(theirs.state_dict())
    ours = load(build(**arguments, **NARROW).double(), converted)
    equal(ours, theirs.forward_features, (72, 64))
    torch.testing.assert_close(converted["head.fc.weight"], theirs.fc.weight)


class NormWithoutEps(nn.Module):
    """The frozen norm of maskrcnn-benchmark."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.factor = norm.weight * norm.running_var.rsqrt()
        self.shift = norm.bias - norm.running_mean * self.factor

    def forward(self, x):
        return x * self.factor[:, None, None] + self.shift[:, None, None]


def test_maskrcnn_benchmark():
    """The backbone is kept, and norms without eps are computed exactly."""
    checkpoint = maskrcnn_benchmark()
    checkpoint["model"] = {name: tensor.double() for name, tensor in checkpoint["model"].items()}
    conversion = convert_names(checkpoint["model"])
    assert conversion.source == "maskrcnn-benchmark"
    dropped = ["module.backbone.fpn.fpn_inner4.weight", "module.rpn.head.cls_logits.bias"]
    assert conversion.dropped == dropped
    theirs, ours = (SReResNet(50, style="caffe", **SMALL).double().eval() for _ in range(2))
    tensors = {name[9:]: tensor for name, tensor in conversion.state_dict.items()}
    assert not ours.load_state_dict(tensors, strict=False).unexpected_keys
    original = {name: tensor.double() for name, tensor in small_resnet50().items()}
    theirs.load_state_dict(original, strict=False)
    for parent in list(theirs.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, NormWithoutEps(child))
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
        expected = theirs(image)[-1]
        difference = (ours(image)[-1] - expected).abs().max() / expected.abs().max()
    assert difference < 1e-14  # 1e-4 with the norms' usual epsilon


def detectron2(name: str) -> str:
    """Torchvision's name as Detectron2 has it."""
    name = re.sub(r"\bbn(\d)\.", r"conv\1.norm.", name)
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
    return f"stem.{name}" if name.startswith("conv1") else name


@pytest.mark.parametrize("prefix", ["", "backbone.bottom_up."])
def test_detectron2(prefix):
    theirs = {f"{prefix}{detectron2(name)}": tensor for name, tensor in small_resnet50().items()}
    conversion = convert_names({**theirs, "proposal_generator.anchor": torch.ones(1)})
    assert conversion.source == "detectron2"
    kept = {name: tensor for name, tensor in small_resnet50().items() if not name.startswith("fc.")}
    assert conversion.state_dict.keys() == {f"backbone.{name}" for name in kept}
    for name, tensor in kept.items():
        assert torch.equal(conversion.state_dict[f"backbone.{name}"], tensor)


# MMDetection pools by 1 in the first block of stage 1, MMPretrain does not pool there. The
# shortcuts of ResNet-D of basic blocks have the names of IResNet's.
D18, D50 = (SReResNetV1d(depth, recursions=0, **SMALL) for depth in (18, 50))
DEEP = SReResNet(50, recursions=0, deep_stem=True, **SMALL)
AVERAGE = SReResNet(34, recursions=0, avg_down=True, **SMALL)
STEMS = {
    "detector": ("backbone.", DetResNetV1d(depth=18, **SMALL), D18, "mmdetection"),
    "detector d": ("backbone.", DetResNetV1d(depth=50, **SMALL), D50, "mmdetection"),
    "backbone d": ("", DetResNetV1d(depth=50, **SMALL), D50, "torchvision"),
    "basic d": ("", DetResNetV1d(depth=18, **SMALL), D18, "torchvision"),
    "deep stem": ("", DetResNet(50, deep_stem=True, **SMALL), DEEP, "torchvision"),
    "average pools alone": ("", DetResNet(34, avg_down=True, **SMALL), AVERAGE, "torchvision"),
    "ours": ("", SReResNetV1d(18, recursions=0, **SMALL), D18, "torchvision"),
}


@pytest.mark.parametrize("name", STEMS)
def test_stems_and_shortcuts_of_openmmlab(name):
    prefix, theirs, ours, source = STEMS[name]
    theirs = randomise(theirs).double()
    named = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    assert recognise(named) == source
    ours = load(deepcopy(ours).double(), convert_state_dict(named))
    equal(ours, lambda image: theirs(image)[-1], (97, 64))


def test_classifier_of_mmpretrain_stays_as_it_is():
    """No name of ours is taken for a name of a source, also when it is converted again."""
    named = convert_state_dict(small_resnet50())
    conversion = convert_names({**named, "data_preprocessor.mean": torch.zeros(3)})
    assert conversion.source == "mmpretrain"
    assert conversion.state_dict.keys() == named.keys()
    assert conversion.dropped == ["data_preprocessor.mean"]


@pytest.mark.parametrize(
    ("source", "norm", "build"),
    [
        ("iresnet", "bn3", partial(IResNet, 50, max_pool_shortcut=False)),
        ("iresnet", "bn3", partial(IResGroup, 50, fixed_groups=True)),
        ("iresnet-basic", "bn2", partial(IResNet, 34, max_pool_shortcut=False)),
        # All the names of a ResStage-18 are those of a ResNet-18: only its user can know.
        ("iresnet-basic", "bn2", partial(IResNet, 18, max_pool_shortcut=False)),
        ("torchvision", "", partial(IResGroup, 50, staged_blocks=False, max_pool_shortcut=False)),
    ],
    ids=["resstage50", "iresgroupfix50", "resstage34", "resstage18", "resgroup50"],
)
def test_ablations_of_iresnet(source, norm, build, request):
    theirs = {}
    for name, tensor in build(**NARROW).state_dict().items():
        name = name.replace(".before.0.", ".bn0.").replace(".after.0.", f".{norm}.")
        theirs[f"module.{name}"] = tensor
    ambiguous = "resstage18" in request.node.name
    assert recognise(theirs) == ("torchvision" if ambiguous else source)
    load(build(**NARROW), convert_state_dict(theirs, source=source))


PREFIXES = {
    "MoCo": ("module.encoder_q.", "encoder_q."),
    "DETR": ("backbone.0.body.", "backbone.0.body."),
}


@pytest.mark.parametrize("project", PREFIXES)
def test_prefixes_of_other_projects(tmp_path, project):
    """The message names the prefix that fits, and the command takes it."""
    written, hint = PREFIXES[project]
    tensors = {f"{written}{name}": tensor for name, tensor in small_resnet50().items()}
    torch.save({"state_dict": {**tensors, "queue": torch.ones(1)}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=f"this would do: --prefix {hint} .torchvision"):
        call("convert", tmp_path / "a.pth", tmp_path / "b.pth")
    assert call("convert", tmp_path / "a.pth", tmp_path / "b.pth", "--prefix", written) == 0
    converted = read_checkpoint(tmp_path / "b.pth")["state_dict"]
    assert torch.equal(converted["backbone.conv1.weight"], small_resnet50()["conv1.weight"])
    with pytest.raises(UserError, match="no name starts with encoder_x, but"):
        call("convert", tmp_path / "a.pth", tmp_path / "b.pth", "--prefix", "encoder_x")


def test_wrapped_names_and_leftovers():
    """Of DataParallel and torch.compile; of averaged models and tools that count operations."""
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in small_resnet50().items()}
    counts = ("n_averaged", "module.total_ops", "module.layer1.0.conv1.total_params")
    conversion = convert_names({**wrapped, **{name: torch.ones(1) for name in counts}})
    assert conversion.state_dict.keys() == convert_state_dict(small_resnet50()).keys()
    assert conversion.dropped == list(counts)


@pytest.mark.parametrize(
    ("names", "source", "message"),
    [
        (["features.0.weight"], None, "no known source names its tensors like this: features.0"),
        (["conv1.weight"], "resnet", "source must be one of .*torchvision.*, got 'resnet'"),
        (["conv1.weight", "classifier.weight"], "torchvision", "no rule for .*'classifier.weight'"),
        (["conv1.weight", "module.conv1.weight"], "torchvision", "two tensors would be called"),
        (["fc.weight"], "torchvision", "no tensor of a backbone is left by source 'torchvision'"),
    ],
)
def test_names_that_make_no_sense(names, source, message):
    with pytest.raises(ValueError, match=message):
        convert_state_dict({name: torch.zeros(1) for name in names}, source)


MODEL = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmres_plugin.{}', depth={}, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=256))
"""
FITTED = MODEL.format("SReResNet", 50)
OTHER_HEAD = {"fc.weight": torch.ones(10, 256), "fc.bias": torch.ones(10)}
UNFIT = {
    # kind: more tensors, their config or name of a model, what is said
    "depth": ({}, MODEL.format("SReResNet", 101), "only in the model: backbone.layer3.6."),
    "family": ({}, MODEL.format("IResNet", 50), r"do not fit .*own.py. \d+ of the model's"),
    "missing": ({"fc.bias": None}, FITTED, "1 only in the model: head.fc.bias"),
    "extra": ({"layer1.0.b": torch.ones(1)}, FITTED, "1 only in the file: backbone.layer1.0.b"),
    "shape": (OTHER_HEAD, FITTED, r"head.fc.weight \(file \(10, 256\), model \(1000, 256\)\)"),
    "no model": ({}, "sreresnet5O_8xb32_in1k", "Did you mean .*sreresnet50_8xb32_in1k"),
    "broken config": ({}, "model = dict(", "cannot be read"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_does_not_fit(tmp_path, kind):
    more, model, message = UNFIT[kind]
    tensors = {name: t for name, t in (small_resnet50() | more).items() if t is not None}
    torch.save(tensors, tmp_path / "src.pth")
    if "=" in model:
        (tmp_path / "own.py").write_text(model)
        model = tmp_path / "own.py"
    with pytest.raises(UserError, match=message):
        call("convert", tmp_path / "src.pth", tmp_path / "dst.pth", "--model", model)
    assert not (tmp_path / "dst.pth").exists()


def test_fits_models_by_name_and_detectors(tmp_path):
    """Of a detector the backbone is compared; the file may have a classifier's head."""
    torch.save(resnet50(), tmp_path / "src.pth")
    for model in ("sreresnet50_8xb32_in1k", ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py"):
        convert_checkpoint(tmp_path / "src.pth", tmp_path / "dst.pth", model=str(model))
        assert read_checkpoint(tmp_path / "dst.pth")["meta"]["model"] == str(model)


def test_command_line(tmp_path, capsys):
    src, dst, config = (tmp_path / name for name in ("theirs.pth", "new/ours.pth", "own.py"))
    torch.save(maskrcnn_benchmark(), src)
    config.write_text(FITTED)
    assert call("convert", src, dst, "--model", config) == 0
    said = capsys.readouterr().out
    for line in (
        *("unbelieboomboom/SReResNet (maskrcnn-benchmark)", "matched 0\n", "renamed 265\n"),
        "module.backbone.body.stem.conv1.weight -> backbone.conv1.weight",
        *("dropped 2\n", "module.rpn.head.cls_logits.bias", "no classifier"),
        *(f"fits {config}", "style='caffe'"),
    ):
        assert line in said
    meta = torch.load(dst, weights_only=True)["meta"]
    assert meta["source_file"] == "theirs.pth"
    assert meta["source_sha256"] == sha256(src)
    assert meta["mmres_plugin_version"] == mmres_plugin.__version__
