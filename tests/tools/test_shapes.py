"""The second set of data, shapes, and that a detector of digits can learn it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from digits import glyphs
from helpers import ROOT, run
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIGS = ROOT / "configs/digits"
SMALL = ["--train-images=60", "--val-images=8", "--train-crops=60", "--val-crops=20", "--size=128"]
VAL = "annotations/instances_val2017.json"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "shapes"
    run(ROOT / "tools/datasets/build_shapes.py", "--out", out, *SMALL)
    return out


def test_shapes_are_those_of_their_config(shapes):
    """All five are drawn; the splits share no photograph and no sample."""
    config = Config.fromfile(CONFIGS / "fcos_sreresnet18_shapes.py")
    train, val = (
        json.loads((shapes / f"detection/annotations/instances_{split}2017.json").read_text())
        for split in ("train", "val")
    )
    for data in (train, val):
        assert tuple(entry["name"] for entry in data["categories"]) == config.metainfo.classes
        assert {entry["category_id"] for entry in data["annotations"]} == {1, 2, 3, 4, 5}
    for table, key in (("images", "photo"), ("annotations", "sample")):
        assert not {entry[key] for entry in train[table]} & {entry[key] for entry in val[table]}
    assert {path.name for path in (shapes / "classification/val").iterdir()} == set(glyphs.SHAPES)


def test_shapes_fill_as_much_of_their_box_as_geometry_says():
    """A stretched circle still fills π/4 of it."""
    source = glyphs.shapes()
    shares = {name: [] for name in source.names}
    for image, label in zip(source.images, source.labels, strict=True):
        *_, width, height = cv2.boundingRect((image > 0.5).astype(np.uint8))
        shares[source.names[label]].append(image.sum() / (width * height))
    assert np.allclose(shares["circle"], np.pi / 4, atol=0.02)
    assert np.allclose(shares["square"], 1, atol=0.03)
    assert np.allclose(shares["triangle"], 1 / 2, atol=0.02)
    assert min(shares["star"]) > 0.2 and max(shares["star"]) < 0.5
    assert min(shares["cross"]) > 0.4 and max(shares["cross"]) < 0.7


@pytest.mark.slow
def test_shapes_are_learned_from_the_digits(shapes, tmp_path):
    """Everything of the detector of digits is kept but the layer of the classes."""
    config = Config.fromfile(CONFIGS / "fcos_sreresnet18_digits.py")
    config.model.backbone.init_cfg = None
    init_default_scope("mmdet")
    digits = MODELS.build(config.model)
    digits.init_weights()
    torch.save({"state_dict": digits.state_dict()}, tmp_path / "digits.pth")
    root = shapes / "detection"
    output = run(
        ROOT / "tools/train.py",
        CONFIGS / "fcos_sreresnet18_shapes.py",
        f"--work-dir={tmp_path / 'work'}",
        "--cfg-options",
        f"load_from={tmp_path / 'digits.pth'}",
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=1",
        "model.test_cfg.score_thr=0.0",
        *(f"{split}_dataloader.dataset.data_root={root}" for split in ("train", "val", "test")),
        *(f"{split}_evaluator.ann_file={root / VAL}" for split in ("val", "test")),
        cwd=tmp_path,
    )
    assert "coco/bbox_mAP_50" in output
    trained = torch.load(tmp_path / "work/epoch_1.pth", weights_only=False)["state_dict"]
    assert trained["bbox_head.conv_cls.weight"].shape[0] == 5
    frozen = "backbone.layer1.0.conv1.weight"
    assert torch.equal(trained[frozen], digits.state_dict()[frozen])
