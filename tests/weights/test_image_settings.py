"""Weights for other images or of another style: said at loading and before a run."""

import pytest
import torch
from helpers import ROOT
from helpers.weights import SMALL, caffe_resnet50, small_resnet50
from mmengine.config import Config

from mmres_plugin.models import SReResNet
from mmres_plugin.weights import convert_checkpoint, pretrained, read_checkpoint
from mmres_plugin.weights.image_settings import (
    CAFFE,
    PYTORCH,
    expected_settings,
    preprocessor_problem,
    style_problem,
)

CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/[!_]*/f*_1x.py"))


@pytest.fixture
def log(monkeypatch) -> list[str]:
    lines = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, **kwargs: lines.append(text))
    return lines


@pytest.mark.parametrize(
    ("content", "origin", "fitting", "other"),
    [
        (small_resnet50, "torchvision", "pytorch", "caffe"),
        (caffe_resnet50, "Caffe", "caffe", "pytorch"),  # or PyTorch's without counters
    ],
)
def test_a_guess_is_called_one_and_not_stored(tmp_path, log, content, origin, fitting, other):
    torch.save(content(), tmp_path / "file.pth")
    start = dict(type="Pretrained", checkpoint=str(tmp_path / "file.pth"))
    SReResNet(50, style=other, init_cfg=start, **SMALL).init_weights()
    assert log[0].startswith("loaded 265 of 265")
    assert f"these look like weights of {origin}" in log[1]
    assert f"if they are, set style='{fitting}' in the backbone" in log[1]
    log.clear()
    SReResNet(50, style=fitting, init_cfg=start, **SMALL).init_weights()
    assert len(log) == 1
    convert_checkpoint(tmp_path / "file.pth", tmp_path / "ours.pth")
    assert read_checkpoint(tmp_path / "ours.pth")["meta"]["images"] is None


def test_the_converter_notes_what_an_address_says(tmp_path, log, monkeypatch):
    theirs = {"state_dict": small_resnet50(), "meta": {}}
    monkeypatch.setattr("mmengine.runner.checkpoint.load_from_http", lambda *a, **_: theirs)
    convert_checkpoint("torchvision://resnet50", tmp_path / "ours.pth")
    start = dict(type="Pretrained", checkpoint=str(tmp_path / "ours.pth"), prefix="backbone.")
    SReResNet(50, style="caffe", init_cfg=start, **SMALL).init_weights()
    assert "these are weights of torchvision or timm, whose bottlenecks stride in" in log[1]


def test_files_that_do_not_tell():
    """Those of training runs, and names of neither kind."""
    assert expected_settings(small_resnet50(), "epoch_3.pth", {"epoch": 3}) is None
    assert expected_settings(["backbone.conv1.weight"], "a.pth") is None
    assert expected_settings((), "mmcls://resnet50") is None
    assert style_problem(PYTORCH, SReResNet(18, style="caffe")) is None  # has no bottleneck


@pytest.mark.parametrize(
    ("settings", "preprocessor", "answer"),
    [
        (PYTORCH, dict(std=[1.0] * 3, bgr_to_rgb=False), "set mean=[123.675, 116.28, 103.53]"),
        (PYTORCH, dict(std=[58.395, 57.12, 57.375], bgr_to_rgb=False), "RGB (bgr_to_rgb=True)"),
        (PYTORCH, dict(std=[58.395, 57.12, 57.375], to_rgb=True), None),
        (CAFFE, dict(std=[58.395, 57.12, 57.375], bgr_to_rgb=True), "std=[1.0, 1.0, 1.0]"),
        (CAFFE, dict(std=[1.0] * 3, bgr_to_rgb=False), None),
        (CAFFE, dict(), None),
    ],
)
def test_images(settings, preprocessor, answer):
    problem = preprocessor_problem(settings, preprocessor)
    assert answer in problem if answer else problem is None


@pytest.mark.parametrize("config", CONFIGS)
def test_shipped_detectors_fit_their_weights(config):
    cfg = Config.fromfile(ROOT / config).model
    settings = expected_settings((), cfg.backbone.init_cfg.checkpoint)
    assert preprocessor_problem(settings, cfg.data_preprocessor) is None
    if settings is not None:
        assert cfg.backbone.get("style", "pytorch") == settings.style
