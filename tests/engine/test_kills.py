"""Trainings that are killed at any moment and go on as if nothing had happened.

`pytest -m slow tests/engine/test_kills.py --exhaustive` runs all of them and counts.
"""

import signal
from itertools import product
from pathlib import Path

import pytest
import torch
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_imagenet
from helpers.trainings import Training, train

from mmres_plugin.weights import read_checkpoint

SMALL = """
train_dataloader = dict(num_workers=2, persistent_workers=True)
train_cfg = dict(max_epochs=3, val_interval=1)
default_hooks = dict(checkpoint=dict(save_best='auto', rule='greater'))
"""
BACKBONE = "backbone=dict(drop_path_rate=0.3, stem_channels=8, base_channels=8)"
MORE = {
    "cls": f"model = dict({BACKBONE}, head=dict(in_channels=64, num_classes=2, topk=(1,)))\n"
    "val_evaluator = dict(topk=(1,))\n",
    "det": f"model = dict({BACKBONE}, neck=dict(in_channels=[16, 32, 64]))\n",
}
# The point, and how often the training gets there before it is killed. A run of three epochs has
# twelve steps (six of the detector), six validation steps, and at least four saves.
MOMENTS = [
    ("step", 1),
    ("step", 6),
    ("validate", 1),
    ("validate", 3),
    ("save", 1),
    ("save", 4),
    ("rename", 4),
    ("pointer", 3),
    ("delete", 1),
]
KILLS = [
    *product(("cls", "det"), (1,), MOMENTS),
    *product(("cls",), (3,), MOMENTS[:-1]),  # nothing is deleted
    *product(("det",), (3,), MOMENTS[3:5] + MOMENTS[5:8:2]),
]
SAMPLE = [
    ("cls", 1, ("save", 1)),
    ("cls", 1, ("pointer", 3)),
    ("cls", 1, ("delete", 1)),
    ("cls", 3, ("step", 6)),
    ("det", 1, ("validate", 3)),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a config of each kind, and the last checkpoint of an uninterrupted training."""
    home = tmp_path_factory.mktemp("home")
    classifier_config(home / "base_cls.py", make_imagenet(home / "imagenet"))
    detector_config(home / "base_det.py", make_coco(home / "coco"))
    for name, more in MORE.items():
        (home / f"{name}.py").write_text(f"_base_ = 'base_{name}.py'\n" + SMALL + more)
    return home


@pytest.fixture(scope="module")
def uninterrupted(home):
    """The tensors at the end of an uninterrupted training, by the name of its config."""
    known = {}

    def tensors(name: str) -> dict:
        if name not in known:
            train(home / f"{name}.py", "--work-dir", home / name, log=home / f"{name}.log")
            known[name] = read_checkpoint(home / name / "epoch_3.pth")["state_dict"]
        return known[name]

    return tensors


def pytest_generate_tests(metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        kills = KILLS if metafunc.config.getoption("--exhaustive") else SAMPLE
        names = [f"{name}-keep{keep}-{point}{count}" for name, keep, (point, count) in kills]
        metafunc.parametrize(("name", "keep", "moment"), kills, ids=names)


@pytest.mark.slow
def test_killed_training_goes_on(home, tmp_path, uninterrupted, name, keep, moment):
    """Killed at this moment and resumed, it ends with the very tensors of an uninterrupted one."""
    options = [home / f"{name}.py", "--work-dir", tmp_path, "--resume", "--cfg-options"]
    options.append(f"default_hooks.checkpoint.max_keep_ckpts={keep}")
    killed = Training(*options, log=tmp_path / "log", die=moment)
    assert killed.end() == -signal.SIGKILL, killed.said[-4000:]
    assert "starts from the beginning" in killed.said
    saved = list(tmp_path.glob("epoch_*.pth"))
    log = train(*options, log=tmp_path / "log")
    assert ("continuing from" in log) == bool(saved)
    assert "passed over" not in log
    last = read_checkpoint(tmp_path / "epoch_3.pth")["state_dict"]
    different = [key for key, t in uninterrupted(name).items() if not torch.equal(t, last[key])]
    assert not different
    assert len(list(tmp_path.glob("epoch_*.pth"))) == keep
    assert not list(tmp_path.glob(".*.tmp"))
