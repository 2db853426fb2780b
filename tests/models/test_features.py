"""A backbone returns what it says that it returns."""

import re
import resource
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from mmengine.config import Config

from mmres_plugin import models
from mmres_plugin.checks import fill_channels
from mmres_plugin.errors import UserError
from mmres_plugin.models import Feature, feature_info
from mmres_plugin.registry import BACKBONES


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_before_and_after_building(name):
    arguments = dict(depth=(2, 2, 2, 2), base_channels=32, out_indices=(0, 1, 2, 3))
    backbone = getattr(models, name)(**arguments).eval()
    with torch.no_grad():
        outputs = backbone(torch.zeros(1, 3, 64, 96))
    assert feature_info(name, **arguments) == backbone.feature_info
    assert backbone.out_channels == tuple(output.shape[1] for output in outputs)
    for output, stride in zip(outputs, backbone.out_strides, strict=True):
        assert output.shape[2:] == (64 // stride, 96 // stride)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (dict(depth=18), [("layer4", 512, 32)]),
        (dict(depth=50, out_indices=(3, 1)), [("layer2", 512, 8), ("layer4", 2048, 32)]),
        (dict(depth=18, num_stages=2, out_indices=(1,)), [("layer2", 128, 8)]),
        (dict(depth=50, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)), [("layer4", 2048, 8)]),
        (dict(depth=18, base_channels=32, strides=(1, 3, 2, 2)), [("layer4", 256, 48)]),
        (dict(type="IResGroup", depth=50, out_indices=(0,)), [("layer1", 128, 4)]),
        (dict(type=models.IResNet, depth=200), [("layer4", 2048, 32)]),
        (dict(type="mmres_plugin.IResNet", depth=34, _delete_=True), [("layer4", 512, 32)]),
    ],
)
def test_values(arguments, expected):
    arguments = {"type": "SReResNet", **arguments}
    assert feature_info(**arguments) == tuple(Feature(*feature) for feature in expected)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux")
def test_nothing_is_allocated():
    """A network of 15 GB is described in a process that may take 1 GB more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 10**9, limits[1]))
    try:
        features = feature_info("SEResNet", depth=152, base_channels=512)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert features[0].channels == 16384


def test_unknown_backbone():
    with pytest.raises(ValueError, match=r"got 'SReResNt'\. Did you mean 'SReResNet'"):
        feature_info("SReResNt", depth=50)
    with pytest.raises(TypeError, match=r"SReResNet: .*'dpeth'"):
        feature_info("SReResNet", depth=50, dpeth=50)


def test_channels_of_neck_and_head_are_filled():
    """``depth=18`` in a shipped detector needs no table, neither does a head without a neck."""
    cfg = Config.fromfile(ROOT / "configs/sreresnet/fcos_sreresnet50_1x.py")
    cfg.model.backbone.update(depth=18, init_cfg=None)
    assert fill_channels(cfg) == {"model.neck.in_channels": [64, 128, 256, 512]}
    assert cfg.model.neck.in_channels == [64, 128, 256, 512]
    assert fill_channels(cfg) == {}
    # A neck with one input, as in YOLOF.
    dilated = dict(num_residual_blocks=1, block_mid_channels=64, block_dilations=[2])
    cfg.model.neck = dict(type="DilatedEncoder", in_channels=1, out_channels=256, **dilated)
    cfg.model.backbone.out_indices = (3,)
    assert fill_channels(cfg) == {"model.neck.in_channels": 512}

    cfg = Config.fromfile(ROOT / "configs/sreresnet/sreresnet50_8xb32_in1k.py")
    cfg.model.backbone.depth = 18
    assert fill_channels(cfg) == {"model.head.in_channels": 512}
    cfg.model.backbone.depth = 51
    with pytest.raises(UserError, match="depth must be one of"):
        fill_channels(cfg)


def test_the_example_of_the_guide(capsys):
    """Features without a runner, as docs/config_guide.md shows them."""
    guide = (ROOT / "docs/config_guide.md").read_text("utf-8")
    example = re.search(r"## Features alone\n.*?```python\n(.*?)```", guide, re.DOTALL)[1]
    exec(example, {})
    expected = re.findall(r"^#  ?(layer.*)$", example, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected
