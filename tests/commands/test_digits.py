"""``mmres digits``: the sets it builds, what it leaves alone, and what it draws."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import call
from mmdet.datasets import CocoDataset
from mmpretrain.datasets import CustomDataset
from sklearn.datasets import load_digits

from mmres_plugin.digits import scene as drawing
from mmres_plugin.errors import UserError

SMALL = ["--train-images=8", "--val-images=4", "--train-crops=30", "--val-crops=10", "--size=128"]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def annotations(folder: Path, split: str) -> dict:
    return json.loads((folder / f"detection/annotations/instances_{split}2017.json").read_text())


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "digits"
    call("digits", "--out", out, *SMALL)
    return out


def test_both_sets_are_read(digits):
    """By MMDetection and MMPretrain, with as many images and boxes as were written."""
    classes = [str(digit) for digit in range(10)]
    for split, scenes, crops in (("train", 8, 30), ("val", 4, 10)):
        boxes = [one["bbox"] for one in annotations(digits, split)["annotations"]]
        detection = CocoDataset(
            data_root=str(digits / "detection"),
            ann_file=f"annotations/instances_{split}2017.json",
            data_prefix=dict(img=f"{split}2017/"),
            metainfo=dict(classes=classes),
        )
        read = [detection.get_data_info(i) for i in range(len(detection))]
        assert len(read) == scenes
        assert sum(len(info["instances"]) for info in read) == len(boxes) > scenes
        assert all(cv2.imread(info["img_path"]).shape == (128, 128, 3) for info in read)
        for x, y, width, height in boxes:
            assert 16 <= max(width, height) <= 0.4 * 128 + 2  # ink fades out over a pixel or two
            assert x >= 0 and y >= 0 and x + width <= 128 and y + height <= 128
        folders = CustomDataset(data_root=str(digits / "classification"), data_prefix=split)
        assert (len(folders), list(folders.CLASSES)) == (crops, classes)
        assert cv2.imread(folders[0]["img_path"]).shape == (40, 40, 3)


def test_labels_and_splits(digits):
    """Labels are those of the samples; training and validation share no sample and no photo."""
    labels = load_digits().target
    samples, photos = {}, {}
    for split in ("train", "val"):
        data = annotations(digits, split)
        crops = [*(digits / "classification" / split).rglob("*.jpg")]
        for path in crops:
            assert int(path.parent.name) == labels[int(path.stem.rpartition("sample")[2])]
        for annotation in data["annotations"]:
            assert annotation["category_id"] - 1 == labels[annotation["sample"]]
        samples[split] = {a["sample"] for a in data["annotations"]}
        samples[split] |= {int(path.stem.rpartition("sample")[2]) for path in crops}
        photos[split] = {image["photo"] for image in data["images"]}
    assert not samples["train"] & samples["val"]
    assert not photos["train"] & photos["val"]


def test_the_same_arguments_give_the_same_bytes(digits, tmp_path, capsys):
    """A complete set is left alone, a half-made one and one of other arguments are replaced."""
    call("digits", "--out", digits, *SMALL)
    assert "nothing to do" in capsys.readouterr().out
    whole = files(digits)
    (tmp_path / "again").mkdir()
    (tmp_path / "again/manifest.json").write_text("mmres_plugin digits")  # as after a kill
    (tmp_path / "again/half_made.jpg").touch()
    call("digits", "--out", tmp_path / "again", *SMALL)
    assert files(tmp_path / "again") == whole
    call("digits", "--out", tmp_path / "again", *SMALL, "--train-images=2", "--train-objects", 2, 3)
    counts = Counter(a["image_id"] for a in annotations(tmp_path / "again", "train")["annotations"])
    assert set(counts) == {1, 2} and set(counts.values()) <= {2, 3}
    call("digits", "--out", tmp_path / "other", *SMALL, "--seed=1")
    image = "detection/train2017/000000000001.jpg"
    assert (tmp_path / "other" / image).read_bytes() != whole[image]


def test_shapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("digits", "--shapes", *SMALL)
    names = [category["name"] for category in annotations(Path("data/shapes"), "val")["categories"]]
    assert names == ["circle", "cross", "square", "star", "triangle"]
    folders = {path.name for path in Path("data/shapes/classification/train").iterdir()}
    assert folders == set(names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--size=20", "--size is 20, must be at least 64"),
        ("--crop-size=8", "--crop-size is 8, must be at least 32"),
        ("--train-images=0", "--train-images is 0, must be at least 1"),
        ("--train-objects 9 3", "--train-objects is 9 3: give MIN and MAX, from 1 to 200"),
        ("--out file/digits", "cannot build file/digits"),
        ("--out theirs", "theirs was not made by this command"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("theirs").mkdir()
    Path("theirs/manifest.json").write_text('{"builder": "another"}')
    with pytest.raises(UserError, match=message):
        call("digits", *SMALL, *options.split())
    assert Path("theirs/manifest.json").read_text() == '{"builder": "another"}'


def test_boxes_are_tight(monkeypatch):
    """Where an image with a digit differs from the same one without is where its box is."""
    monkeypatch.setattr(drawing, "NOISE", 0)
    painter = drawing.Painter("train", 0)
    for seed in range(30):
        sample = int(painter.samples[seed])
        drawn, empty = (
            painter.draw(np.random.default_rng(seed), 128, samples, (17, 60))
            for samples in ([sample], [])
        )
        changed = np.abs(drawn.image.astype(int) - empty.image).max(2) > 40
        seen, box = (
            np.array(b) for b in (cv2.boundingRect(changed.astype("u1")), drawn.digits[0].box)
        )
        # The ink fades out over a pixel or two, so sides may differ by that much.
        assert np.abs(seen[:2] - box[:2]).max() <= 2
        assert np.abs(seen[:2] + seen[2:] - box[:2] - box[2:]).max() <= 2


@pytest.mark.parametrize("size", [32, 40, 200])
def test_every_crop_shows_its_digit(size):
    """A crop's folder is its label: no crop may stay empty because its digit found no place."""
    painter = drawing.Painter("val", 0)
    for seed in range(60):
        sample = int(painter.samples[seed])
        side = (max(17, 0.6 * size), 0.9 * size)
        scene = painter.draw(np.random.default_rng(seed), size, [sample], side)
        assert [digit.sample for digit in scene.digits] == [sample]
