"""Publishing: what a training has written predicts the same in a fresh process."""

import re
from pathlib import Path

import pytest
import torch
from helpers import ROOT, call
from helpers.weights import SMALL
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmpretrain import get_model

from mmres_plugin.engine.runner import build_runner
from mmres_plugin.weights import publish_checkpoint, read_checkpoint
from mmres_plugin.weights.files import find_classes, sha256

NETWORK = dict(backbone=SMALL, head=dict(num_classes=10, in_channels=64))


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> tuple[Runner, Path]:
    """A few steps on the digits, with averaged weights, and the checkpoint."""
    folder = tmp_path_factory.mktemp("training")
    counts = ["--train-images=1", "--val-images=1", "--train-crops=40", "--val-crops=10"]
    call("digits", *counts, f"--out={folder}/digits")
    cfg = Config.fromfile(ROOT / "configs/digits/sreresnet18_digits.py")
    cfg.model.update(NETWORK)
    cfg.work_dir = str(folder / "run")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=10, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(folder / "digits/classification")
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.custom_hooks = [dict(type="EMAHook", momentum=0.5)]
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, folder / "run/epoch_1.pth"


def test_command_line(tmp_path, training, capsys):
    assert call("publish", training[1], tmp_path / "digits.pth") == 0
    [path] = tmp_path.iterdir()
    assert f"wrote {path}" in capsys.readouterr().out
    assert re.fullmatch(r"digits-[0-9a-f]{8}\.pth", path.name)
    assert path.stem[-8:] == sha256(path)[:8]
    assert path.stat().st_size < 0.4 * training[1].stat().st_size
    content = read_checkpoint(path)
    assert content.keys() == {"meta", "state_dict"}
    kept = ("dataset_meta", "epoch", "iter", "mmengine_version", "mmres_plugin_version")
    assert content["meta"].keys() == set(kept)


@torch.no_grad()
def test_round_trip(tmp_path, training):
    """The weights are the averaged ones, which validation has measured."""
    runner, checkpoint = training
    averaged = next(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
    images = torch.rand(4, 3, 48, 48)
    expected = averaged.module.eval()(images)
    assert not torch.equal(expected, runner.model.eval()(images))
    for suffix in (".pth", ".safetensors"):
        path = publish_checkpoint(checkpoint, tmp_path / f"a{suffix}")
        model = get_model("sreresnet18_8xb32_in1k", pretrained=str(path), **NETWORK)
        assert list(model._dataset_meta["classes"]) == [str(digit) for digit in range(10)]
        assert torch.equal(model(images), expected)


def test_published_over_itself(tmp_path, training):
    """The source stays, whatever the name asked for."""
    source = tmp_path / "a.pth"
    source.write_bytes(training[1].read_bytes())
    path = publish_checkpoint(source, source)
    assert source.read_bytes() == training[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted([source, path])
    assert publish_checkpoint(source, source) == path  # the same content, the same hash
    get_model("sreresnet18_8xb32_in1k", pretrained=str(path), **NETWORK)


def test_a_config_in_a_checkpoint_is_not_run(tmp_path, training):
    """MMEngine's own runner does so when it resumes, to compare the number of GPUs."""
    runner, checkpoint = training
    mark = tmp_path / "mark"
    content = torch.load(checkpoint, weights_only=False)
    content["meta"]["config"] = f"import os\nos.mkdir({str(mark)!r})"
    torch.save(content, tmp_path / "a.pth")
    cfg = runner.cfg.copy()
    cfg.update(work_dir=str(tmp_path), launcher="none", custom_hooks=[], experiment_name="ours")
    build_runner(cfg).resume(str(tmp_path / "a.pth"))
    assert not mark.exists()
    cfg.experiment_name = "plain"
    Runner.from_cfg(cfg).resume(str(tmp_path / "a.pth"))
    assert mark.exists()


@pytest.mark.parametrize(
    ("meta", "classes"),
    [
        ({"CLASSES": ("cat", "dog")}, ("cat", "dog")),  # MMDetection 2, MMClassification
        ({"CLASSES": "cat"}, ("cat",)),
        ({"dataset_meta": {"classes": ["cat"]}, "CLASSES": ("dog",)}, ("cat",)),
        ({"dataset_meta": {"CLASSES": ["cat"]}}, ("cat",)),
        ({"dataset_meta": {"classes": ["cat"], "palette": torch.ones(3)}}, ("cat",)),
        ({"dataset_meta": 5}, ()),
        ([1], ()),
    ],
)
def test_classes_are_published(tmp_path, meta, classes):
    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": meta}, tmp_path / "a.pth")
    for name in ("b.pth", "b.safetensors"):
        published = read_checkpoint(publish_checkpoint(tmp_path / "a.pth", tmp_path / name))
        assert find_classes(published) == classes
