"""Names of every source become ours, and the network computes what the original computed.

Those of the authors of IResNet and ED-Net are tested in test_golden.py.
"""

import re

import pytest
import timm
import torch
from helpers import ROOT, randomise
from helpers.weights import maskrcnn_benchmark, resnet50
from mmdet.models.backbones import ResNet as DetResNet
from mmdet.models.backbones import ResNetV1d as DetResNetV1d
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmres_plugin.models import (
    IResGroup,
    IResNet,
    ResNeXt,
    SEResNet,
    SEResNeXt,
    SReResNet,
    SReResNetV1d,
)
from mmres_plugin.weights import convert_state_dict, recognise
from mmres_plugin.weights.convert import convert_names

TIMM = {
    "resnet18": ("torchvision", lambda: SReResNet(18, recursions=0)),
    "resnext50_32x4d": ("torchvision", lambda: ResNeXt(50)),
    "seresnet18": ("timm-se", lambda: SEResNet(18)),
    "seresnext50_32x4d": ("timm-se", lambda: SEResNeXt(50)),
    "resnet50c": ("timm-deep-stem", lambda: SReResNet(50, recursions=0, deep_stem=True)),
    "resnet18d": ("timm-deep-stem", lambda: SReResNetV1d(18, recursions=0)),
    "resnet50d": ("timm-d", lambda: SReResNetV1d(50, recursions=0)),
}


def load(backbone: nn.Module, state_dict: dict) -> nn.Module:
    """``backbone`` with exactly the tensors of a converted state dict, head aside."""
    tensors = {n: t for n, t in state_dict.items() if n.startswith("backbone.")}
    backbone.load_state_dict({n.removeprefix("backbone."): t for n, t in tensors.items()})
    return backbone.eval()


@pytest.mark.parametrize("name", TIMM)
@torch.no_grad()
def test_timm(name):
    source, build = TIMM[name]
    theirs = randomise(timm.create_model(name)).double()
    assert recognise(theirs.state_dict()) == source
    converted = convert_state_dict(theirs.state_dict())
    ours = load(build().double(), converted)
    image = torch.rand(1, 3, 72, 64, dtype=torch.float64)
    expected = theirs.forward_features(image)
    torch.testing.assert_close(ours(image)[-1], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(converted["head.fc.weight"], theirs.fc.weight)


def test_maskrcnn_benchmark_keeps_the_backbone():
    conversion = convert_names(maskrcnn_benchmark()["model"])
    assert conversion.source == "maskrcnn-benchmark"
    assert conversion.dropped == [
        "module.backbone.fpn.fpn_inner4.weight",
        "module.rpn.head.cls_logits.bias",
    ]
    ours = load_frozen(conversion.state_dict)
    for name, tensor in resnet50().items():
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(ours[name], tensor), name


def load_frozen(state_dict: dict) -> dict:
    """What SReResNet-50 has after loading; the counters of its norms may be missing."""
    backbone = SReResNet(50, style="caffe")
    missing, unexpected = backbone.load_state_dict(
        {name.removeprefix("backbone."): tensor for name, tensor in state_dict.items()},
        strict=False,
    )
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return backbone.state_dict()


def test_detector_keeps_the_backbone():
    cfg = Config.fromfile(ROOT / "configs/digits/fcos_sreresnet18_digits.py")
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(cfg.model)
    conversion = convert_names(detector.state_dict())
    assert conversion.source == "mmdetection"
    assert {name.split(".")[0] for name in conversion.dropped} == {"neck", "bbox_head"}
    load(SReResNet(18, stem_channels=32, base_channels=32), conversion.state_dict)


@torch.no_grad()
def test_detector_with_a_deep_stem():
    theirs = randomise(DetResNetV1d(depth=18)).double()
    named = {f"backbone.{name}": tensor for name, tensor in theirs.state_dict().items()}
    ours = load(SReResNetV1d(18, recursions=0).double(), convert_state_dict(named))
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(image)[-1], theirs(image)[-1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("prefix", "source"), [("", "resnet-d"), ("backbone.", "mmdetection-d")])
@torch.no_grad()
def test_resnet_d_of_mmdetection(prefix, source):
    """MMDetection pools by 1 in the first block of stage 1, MMPretrain does not pool there."""
    theirs = randomise(DetResNetV1d(depth=50)).double()
    named = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    assert recognise(named) == source
    ours = load(
        SReResNetV1d(50, recursions=0, out_indices=(0, 1, 2, 3)).double(), convert_state_dict(named)
    )
    image = torch.rand(1, 3, 97, 64, dtype=torch.float64)
    for a, b in zip(ours(image), theirs(image), strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max()


@torch.no_grad()
def test_bare_backbone_with_a_deep_stem():
    """As behind open-mmlab://resnet50_v1c, which has a classifier too."""
    theirs = randomise(DetResNet(depth=50, deep_stem=True)).double()
    named = {
        **theirs.state_dict(),
        "fc.weight": torch.zeros(1000, 2048),
        "fc.bias": torch.zeros(1000),
    }
    assert recognise(named) == "deep-stem"
    ours = load(SReResNet(50, recursions=0, deep_stem=True).double(), convert_state_dict(named))
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(image)[-1], theirs(image)[-1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("theirs", "source"),
    [
        (lambda: DetResNetV1d(depth=18), "deep-stem"),
        (lambda: DetResNet(depth=34, avg_down=True), "torchvision"),
        (lambda: SReResNetV1d(18, recursions=0), "deep-stem"),
    ],
    ids=["mmdetection", "average pools alone", "ours"],
)
@torch.no_grad()
def test_bare_resnet_d_of_basic_blocks(theirs, source):
    """Its shortcuts have the names of IResNet's."""
    theirs = randomise(theirs()).double()
    assert recognise(theirs.state_dict()) == source
    kind = SReResNetV1d if source == "deep-stem" else SReResNet
    depth = 18 if source == "deep-stem" else 34
    ours = kind(depth, recursions=0, avg_down=True, out_indices=(3,)).double()
    load(ours, convert_state_dict(theirs.state_dict()))
    image = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(image)[-1], theirs(image)[-1], rtol=1e-9, atol=1e-9)


def test_classifier_of_mmpretrain_stays_as_it_is():
    named = convert_state_dict(resnet50())
    conversion = convert_names({**named, "data_preprocessor.mean": torch.zeros(3)})
    assert conversion.source == "mmpretrain"
    assert conversion.state_dict.keys() == named.keys()
    assert conversion.dropped == ["data_preprocessor.mean"]


@pytest.mark.parametrize(
    ("source", "norm", "build"),
    [
        ("iresnet", "bn3", lambda: IResNet(50, max_pool_shortcut=False)),
        ("iresnet", "bn3", lambda: IResGroup(50, fixed_groups=True)),
        ("iresnet-basic", "bn2", lambda: IResNet(34, max_pool_shortcut=False)),
        # All the names of a ResStage-18 are those of a ResNet-18: only its user can know.
        ("iresnet-basic", "bn2", lambda: IResNet(18, max_pool_shortcut=False)),
    ],
    ids=["resstage50", "iresgroupfix50", "resstage34", "resstage18"],
)
def test_ablations_of_iresnet(source, norm, build, request):
    ours = build().state_dict()
    theirs = {}
    for name, tensor in ours.items():
        name = name.replace(".before.0.", ".bn0.").replace(".after.0.", f".{norm}.")
        theirs[f"module.{name}"] = tensor
    ambiguous = "resstage18" in request.node.name
    assert recognise(theirs) == ("torchvision" if ambiguous else source)
    load(build(), convert_state_dict(theirs, source=source))


def test_resgroup_has_the_names_of_resnet():
    theirs = IResGroup(50, staged_blocks=False, max_pool_shortcut=False).state_dict()
    assert recognise(theirs) == "torchvision"


def test_compiled_and_wrapped_names():
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in resnet50().items()}
    assert convert_state_dict(wrapped).keys() == convert_state_dict(resnet50()).keys()


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


def test_renamed_once():
    """No name of ours is taken for a name of a source when it is converted again."""
    converted = convert_state_dict(randomise(timm.create_model("seresnet18")).state_dict())
    again = convert_names(converted)
    assert again.source == "mmpretrain"
    assert all(re.match("backbone|head", name) and name == new for name, new in again.names.items())
