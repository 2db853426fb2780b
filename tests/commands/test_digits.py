"""The builder of the digits data, run as a user runs it, and what it draws."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from digits import scene as drawing
from helpers import ROOT, run

BUILDER = ROOT / "tools/datasets/build_digits.py"
SMALL = ["--train-images=24", "--val-images=8", "--train-crops=60", "--val-crops=20", "--size=128"]


def build(*args, code: int = 0, **kwargs) -> str:
    output = run(BUILDER, *args, code=code, **kwargs)
    assert "Traceback" not in output
    return output


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def annotations(folder: Path, split: str) -> dict:
    return json.loads((folder / f"detection/annotations/instances_{split}2017.json").read_text())


def iou(one, two) -> float:
    x, y = max(one[0], two[0]), max(one[1], two[1])
    width = max(0, min(one[0] + one[2], two[0] + two[2]) - x)
    height = max(0, min(one[1] + one[3], two[1] + two[3]) - y)
    return width * height / (one[2] * one[3] + two[2] * two[3] - width * height)


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "digits"
    assert "built" in build("--out", out, *SMALL)
    return out


def test_detection_set_is_coco(digits):
    """MMDetection reads it, with as many images and boxes as the file says."""
    from mmdet.datasets import CocoDataset

    for split, count in (("train", 24), ("val", 8)):
        data = annotations(digits, split)
        dataset = CocoDataset(
            data_root=str(digits / "detection"),
            ann_file=f"annotations/instances_{split}2017.json",
            data_prefix=dict(img=f"{split}2017/"),
            metainfo=dict(classes=[str(digit) for digit in range(10)]),
        )
        read = [dataset.get_data_info(i) for i in range(len(dataset))]
        assert len(read) == len(data["images"]) == count
        assert sum(len(info["instances"]) for info in read) == len(data["annotations"]) > count
        for info in read:
            assert cv2.imread(info["img_path"]).shape == (128, 128, 3)
        for annotation in data["annotations"]:
            x, y, width, height = annotation["bbox"]
            assert max(width, height) >= 16
            assert x >= 0 and y >= 0 and x + width <= 128 and y + height <= 128


def test_objects_in_a_training_scene(tmp_path):
    """As many as asked for, where they find room; validation scenes have their own numbers."""
    build("--out", tmp_path / "digits", *SMALL, "--train-objects", 2, 3, "--size=256")
    counts = {}
    for split in ("train", "val"):
        boxes = annotations(tmp_path / "digits", split)["annotations"]
        counts[split] = set(Counter(box["image_id"] for box in boxes).values())
    assert counts["train"] == {2, 3}
    assert min(counts["val"]) >= 3 and max(counts["val"]) <= 10


def test_labels_are_those_of_the_samples(digits):
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for split in ("train", "val"):
        for annotation in annotations(digits, split)["annotations"]:
            assert annotation["category_id"] - 1 == labels[annotation["sample"]]
        for path in (digits / "classification" / split).rglob("*.jpg"):
            assert int(path.parent.name) == labels[int(path.stem.rpartition("sample")[2])]


def test_classification_set_has_a_folder_per_class(digits):
    from mmpretrain.datasets import CustomDataset

    for split, count in (("train", 60), ("val", 20)):
        root = str(digits / "classification")
        dataset = CustomDataset(data_root=root, data_prefix=split)
        assert len(dataset) == count
        assert list(dataset.CLASSES) == [str(digit) for digit in range(10)]
        assert cv2.imread(dataset[0]["img_path"]).shape == (40, 40, 3)


def test_train_and_val_share_neither_sample_nor_photo(digits):
    samples, photos = {}, {}
    for split in ("train", "val"):
        data = annotations(digits, split)
        crops = (digits / "classification" / split).rglob("*.jpg")
        samples[split] = {a["sample"] for a in data["annotations"]}
        samples[split] |= {int(path.stem.rpartition("sample")[2]) for path in crops}
        photos[split] = {image["photo"] for image in data["images"]}
        assert len(photos[split]) > 1
    assert not samples["train"] & samples["val"]
    assert not photos["train"] & photos["val"]
    whole = [set(drawing.DigitPainter(split, 0).samples) for split in ("train", "val")]
    assert not whole[0] & whole[1] and len(whole[0] | whole[1]) == 1797


def test_same_arguments_give_the_same_bytes(digits, tmp_path):
    build("--out", tmp_path / "again", *SMALL)
    assert files(tmp_path / "again") == files(digits)
    build("--out", tmp_path / "other", *SMALL, "--seed=1")
    image = "detection/train2017/000000000001.jpg"
    assert (tmp_path / "other" / image).read_bytes() != (digits / image).read_bytes()
    build("--out", tmp_path / "fewer", *SMALL, "--train-images=2")
    assert (tmp_path / "fewer" / image).read_bytes() == (digits / image).read_bytes()


def test_boxes_are_tight(monkeypatch):
    """Where an image with a digit differs from the same one without is where its box is."""
    monkeypatch.setattr(drawing, "NOISE", 0)
    painter = drawing.DigitPainter("train", 0)
    fits = []
    for seed in range(60):
        sample = int(painter.samples[seed])
        scenes = [
            painter.draw(np.random.default_rng(seed), 128, samples, (17, 60))
            for samples in ([sample], [])
        ]
        changed = np.abs(scenes[0].image.astype(int) - scenes[1].image).max(2) > 40
        seen, box = cv2.boundingRect(changed.astype(np.uint8)), scenes[0].digits[0].box
        # The ink fades out over a pixel or two, so sides may differ by that much.
        assert np.abs(np.subtract(corners(seen), corners(box))).max() <= 2
        fits.append(iou(seen, box))
    assert np.mean(fits) > 0.9


def corners(box) -> tuple[int, int, int, int]:
    x, y, width, height = box
    return x, y, x + width, y + height


def test_scenes_are_varied():
    painter = drawing.DigitPainter("train", 0)
    sides, overlaps, photos = [], [], set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        scene = painter.draw(rng, 256, rng.choice(painter.samples, 6).tolist(), (17, 102))
        boxes = [digit.box for digit in scene.digits]
        sides += [max(box[2:]) for box in boxes]
        overlaps += [iou(one, two) for one, two in combinations(boxes, 2)]
        photos.add(scene.photo)
    assert 16 <= min(sides) < 20 and 90 < max(sides) <= 102 + 2
    assert sum(overlap > 0.1 for overlap in overlaps) > 10
    assert photos == set(drawing.PHOTOS["train"])


@pytest.mark.parametrize("size", [32, 40, 200])
def test_every_crop_shows_its_digit(size):
    """A crop's folder is its label: no crop may stay empty because its digit found no place."""
    painter = drawing.DigitPainter("val", 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sample = int(painter.samples[seed])
        scene = painter.draw(rng, size, [sample], (max(17, 0.6 * size), 0.9 * size))
        assert [digit.sample for digit in scene.digits] == [sample]


def test_covered_digits_stay_mostly_visible():
    """A digit is not put where it would hide more than a quarter of another one's ink."""
    rng = np.random.default_rng(0)
    bar = np.ones((20, 40), np.float32)
    owner = np.zeros((40, 40), np.uint8)
    owner[:20] = 1
    for _ in range(30):
        placed = drawing._find_place(rng, owner, bar, [800])
        if placed is not None:
            assert (placed[0] == 1).sum() >= 600
    full = np.ones((40, 40), np.uint8)
    assert drawing._find_place(rng, full, np.ones((30, 30), np.float32), [1600]) is None


def test_complete_set_is_left_alone(digits):
    manifest = digits / "manifest.json"
    before = manifest.stat().st_mtime_ns
    assert "nothing to do" in build("--out", digits, *SMALL)
    assert manifest.stat().st_mtime_ns == before


def test_damaged_or_different_set_is_rebuilt(tmp_path):
    out = tmp_path / "digits"
    build("--out", out, *SMALL)
    whole = files(out)
    image = out / "detection/val2017/000000000003.jpg"
    image.write_bytes(image.read_bytes()[:100])
    assert "damaged" in build("--out", out, *SMALL)
    assert files(out) == whole
    build("--out", out, *SMALL, "--val-images=3")
    assert len(list((out / "detection/val2017").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("existing", [False, True])
def test_killed_build_is_never_used(tmp_path, existing, digits):
    """A real kill in the middle: nothing half-made has the name, and the rerun mends it."""
    out = tmp_path / "digits"
    if existing:
        build("--out", out, *SMALL)
    large = [sys.executable, str(BUILDER), "--out", str(out), "--train-images=5000"]
    building = subprocess.Popen(large, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(tmp_path.rglob(".digits.building-*/**/*.jpg"))) > 5)
    finally:
        building.send_signal(signal.SIGKILL)
        building.wait()
    assert len(list(tmp_path.glob(".digits.building-*"))) == 1
    assert out.exists() == existing
    if existing:
        assert files(out) == files(digits)
    build("--out", out, *SMALL)
    assert files(out) == files(digits)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def wait_for(condition, seconds: float = 60) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("content", ["", "{}", '{"builder": "another"}'])
def test_folder_of_others_is_not_touched(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    (tmp_path / "precious.txt").write_text("mine")
    assert "was not made by this tool" in build("--out", tmp_path, *SMALL, code=2)
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--size=20", "--size is 20, must be from 64 to 2048"),
        ("--crop-size=8", "--crop-size is 8, must be from 32 to 512"),
        ("--train-images=0", "--train-images is 0, must be from 1 to 1000000"),
        ("--seed=-1", "--seed is -1"),
        ("--size=big", "invalid int value: 'big'"),
        ("--train-objects 0 9", "--train-objects is 0, must be from 1 to 50"),
        ("--train-objects 9 3", "--train-objects is 9 3: the second must not be smaller"),
    ],
)
def test_silly_numbers(tmp_path, option, message):
    assert message in build("--out", tmp_path / "digits", *option.split(), code=2)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    output = build("--out", tmp_path / "file" / "digits", *SMALL, code=2)
    assert f"cannot build {tmp_path}/file/digits" in output


@pytest.mark.parametrize(
    ("package", "distribution"), [("sklearn", "scikit-learn"), ("skimage", "scikit-image")]
)
def test_missing_library(tmp_path, package, distribution):
    (tmp_path / f"{package}.py").write_text(f"raise ImportError('no {package} here')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    output = build("--out", tmp_path / "digits", *SMALL, code=2, env=env)
    assert f"pip install {distribution}" in output


def test_picture(digits, tmp_path):
    build("--out", digits, *SMALL, "--picture", tmp_path / "sheets" / "samples.png")
    sheet = cv2.imread(str(tmp_path / "sheets" / "samples.png"))
    assert sheet is not None and sheet.std() > 20
    output = build("--out", digits, *SMALL, "--picture", tmp_path / "samples.xyz", code=2)
    assert "image format" in output
