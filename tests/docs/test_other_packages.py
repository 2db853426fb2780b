"""The configs of docs/other_packages.md train a step with MMSegmentation and MMRotate."""

import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import ENV, ROOT, run

pytestmark = pytest.mark.slow
# What makes the configs of the page small: narrow networks, images of 96 pixels, one step.
SEGMENTATION = """
_base_ = "page.py"
model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(stem_channels=8, base_channels=8),
    decode_head=dict(in_channels=256, c1_in_channels=32),
    auxiliary_head=dict(in_channels=128),
)
load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", reduce_zero_label=True)]
pipeline = [*load, dict(type="PackSegInputs")]
dataset = dict(data_root="ade", pipeline=pipeline)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
val_dataloader = train_dataloader
train_cfg = dict(max_iters=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""
ROTATED = """
_base_ = "page.py"
model = dict(
    backbone=dict(
        depth=18, stem_channels=8, base_channels=8, frozen_stages=-1, norm_eval=False, init_cfg=None
    ),
    neck=dict(in_channels=[8, 16, 32, 64]),
)
dataset = dict(data_root="dota/", ann_file="annfiles/", data_prefix=dict(img_path="images/"))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
val_dataloader = train_dataloader
train_cfg = dict(max_epochs=1)
"""


def train(package: str, small: str, folder: Path) -> str:
    """Train the page's config of this package, made small; returns what was printed."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/other_packages.md").read_text(), re.S)
    (folder / "page.py").write_text(next(block for block in blocks if f'"{package}::' in block))
    (folder / "small.py").write_text(small)
    packages = ROOT / "build/other_packages"  # made by `make test-slow`
    env = {**ENV, "PYTHONPATH": os.pathsep.join([str(packages), ENV["PYTHONPATH"]])}
    return run(sys.executable, "-m", "mmres_plugin", "train", "small.py", cwd=folder, env=env)


def test_segmentation(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for part in ("training", "validation"):
        for kind, top, suffix in (("images", 255, "jpg"), ("annotations", 150, "png")):
            (tmp_path / "ade" / kind / part).mkdir(parents=True)
            for n in range(4):
                shape = (96, 96, 3) if kind == "images" else (96, 96)
                pixels = rng.integers(0, top, shape, dtype=np.uint8)
                cv2.imwrite(str(tmp_path / "ade" / kind / part / f"{n}.{suffix}"), pixels)
    assert "mIoU" in train("mmseg", SEGMENTATION, tmp_path)
    assert (tmp_path / "work_dirs/small/iter_1.pth").is_file()


def test_rotated_boxes(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "annfiles"):
        (tmp_path / "dota" / name).mkdir(parents=True)
    boxes = "10 10 60 10 60 50 10 50 plane 0\n20 20 90 30 80 90 10 80 ship 0\n"
    for n in range(2):
        pixels = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"dota/images/{n}.png"), pixels)
        (tmp_path / f"dota/annfiles/{n}.txt").write_text(boxes)
    assert "dota/mAP" in train("mmrotate", ROTATED, tmp_path)
    assert (tmp_path / "work_dirs/small/epoch_1.pth").is_file()
