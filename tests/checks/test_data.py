"""Faults in the data: each ends a start with a message, or is counted once in the log."""

import json
from pathlib import Path

import pytest
from helpers import ROOT, run
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_image_folders, make_imagenet
from mmres_plugin.data_check import coco
from mmres_plugin.rehearsal import build_datasets

from mmres_plugin.checks.faults import DROPPED, KINDS, STOPS
from mmres_plugin.config import load_config

CHECK = ROOT / "tools/datasets/check_dataset.py"
NAMES = ["cat", "dog", "hare"]


@pytest.fixture
def log(monkeypatch) -> list[str]:
    lines = []
    monkeypatch.setattr(coco, "print_log", lambda text, **kwargs: lines.append(text))
    return lines


def set_key(entries: str, key: str, value):
    def spoil(content: dict) -> None:
        content[entries][1][key] = value

    return spoil


def drop_key(entries: str, key: str):
    return lambda content: content[entries][1].pop(key)


def repeat(entries: str):
    return lambda content: content[entries].append(content[entries][1])


def replace(key: str, value):
    def spoil(content: dict) -> None:
        content[key] = value

    return spoil


# What is done to a good file, what is said, and of what.
FAULTS = {
    "no images": (replace("images", None), "missing key", "images of the file"),
    "annotations by name": (replace("annotations", {}), "missing key", "annotations of the file"),
    "no categories": (lambda c: c.pop("categories"), "missing key", "categories of the file"),
    "image is a name": (lambda c: c["images"].append("7.jpg"), "wrong type", "entry 5 of images"),
    "annotation is none": (lambda c: c["annotations"].append(None), "wrong type", "entry 5 of ann"),
    "no file name": (drop_key("images", "file_name"), "missing key", "file_name of image 2"),
    "no width": (drop_key("images", "width"), "missing key", "width of image 2"),
    "height is text": (set_key("images", "height", "64"), "wrong type", "height of image 2"),
    "no image id": (drop_key("images", "id"), "missing key", "id of image no. 2"),
    "no name": (drop_key("categories", "name"), "missing key", "name of category 2"),
    "no category": (drop_key("annotations", "category_id"), "missing key", "category_id of ann"),
    "category is text": (set_key("annotations", "category_id", "2"), "wrong type", "category_id"),
    "category is a list": (set_key("annotations", "category_id", [2]), "wrong type", "category_id"),
    "no image of it": (
        drop_key("annotations", "image_id"),
        "missing key",
        "image_id of annotation 2",
    ),
    "image is a list": (set_key("annotations", "image_id", [2]), "wrong type", "image_id of ann"),
    "no id": (drop_key("annotations", "id"), "missing key", "id of annotation no. 2"),
    "no area": (drop_key("annotations", "area"), "missing key", "area of annotation 2"),
    "area is text": (set_key("annotations", "area", "9"), "wrong type", "area of annotation 2"),
    "no box": (drop_key("annotations", "bbox"), "missing key", "bbox of annotation 2"),
    "box is none": (set_key("annotations", "bbox", None), "wrong type", "bbox of annotation 2"),
    "three sides": (set_key("annotations", "bbox", [1, 2, 3]), "wrong type", "annotation 2"),
    "side is text": (set_key("annotations", "bbox", ["1", 2, 3, 4]), "wrong type", "annotation 2"),
    "side is none": (set_key("annotations", "bbox", [1, 2, None, 4]), "wrong type", "annotation 2"),
    "NaN": (set_key("annotations", "bbox", [1, 2, float("nan"), 4]), "box is infinite", "tation 2"),
    "infinite": (set_key("annotations", "bbox", [1, 2, float("inf"), 4]), "box is inf", "tation 2"),
    "twice": (repeat("annotations"), "duplicate id", "annotation 2"),
    "image twice": (repeat("images"), "duplicate id", "image 2"),
    "category twice": (repeat("categories"), "duplicate id", "category 2"),
    "no width of the box": (
        set_key("annotations", "bbox", [1, 2, 0, 4]),
        "box without",
        "tation 2",
    ),
    "negative": (set_key("annotations", "bbox", [9, 9, -5, 4]), "box without area", "annotation 2"),
    "area is zero": (set_key("annotations", "area", 0), "box without area", "annotation 2"),
    "outside": (set_key("annotations", "bbox", [99, 99, 5, 5]), "box outside", "annotation 2"),
    "left of it": (set_key("annotations", "bbox", [-9, 1, 5, 5]), "box outside", "annotation 2"),
    "unknown category": (set_key("annotations", "category_id", 9), "unknown cat", "annotation 2"),
    "unknown image": (set_key("annotations", "image_id", 99), "unknown image", "annotation 2"),
}


QUICK = {"image is a name", "no width", "box is none", "NaN", "unknown category", "negative"}


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS],
)
def test_fault_in_a_training(tmp_path, log, name):
    """By the real data set: what stops it has a message, what it leaves out is counted."""
    spoil, kind, where = FAULTS[name]
    root = make_coco(tmp_path / "coco", names=NAMES)
    config = detector_config(tmp_path / "det.py", root)
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    classes = {"train_dataloader.dataset.metainfo": {"classes": NAMES}}
    problems: list[str] = []
    datasets = build_datasets(load_config(config, classes), ["train"], problems)
    effect = next(effect for one, effect in KINDS.items() if one.startswith(kind))
    if effect == STOPS:
        [said] = problems
        assert f"{path} cannot be trained on" in said
    else:
        assert effect == DROPPED
        [said] = log
        assert "MMDetection leaves out 1 ×" in said
        boxes = sum(
            len(info["instances"])
            for info in map(
                datasets["train"].dataset.get_data_info, range(len(datasets["train"].dataset))
            )
        )
        assert boxes == 3
    assert kind in said
    assert where in said


def test_good_annotations_say_nothing(tmp_path, log):
    config = detector_config(tmp_path / "det.py", make_coco(tmp_path / "coco"))
    problems: list[str] = []
    assert build_datasets(load_config(config), ["train", "val"], problems).keys() == {
        "train",
        "val",
    }
    assert not problems
    assert not log


def report(config: Path, *options: object, code: int) -> str:
    return run(CHECK, config, "--workers=1", *options, code=code, cwd=config.parent)


@pytest.mark.slow
def test_report_on_a_detector(tmp_path):
    root = make_coco(tmp_path / "coco", names=NAMES)
    config = detector_config(tmp_path / "det.py", root)
    assert "No faults." in report(config, "--picture=a.png", code=0)
    assert (tmp_path / "a.png").stat().st_size > 1000
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["width"] += 1
    content["annotations"][1]["bbox"][2] = 0
    path.write_text(json.dumps(content))
    picture = root / "train2017/000000000003.jpg"
    picture.write_bytes(picture.read_bytes()[:900])
    (root / "val2017/000000000001.jpg").write_bytes(b"")
    (root / "val2017/000000000002.jpg").unlink()
    said = report(config, code=1)
    for line in (
        "train_dataloader.dataset: 4 images, 3 classes",
        f"1 × image has another size: {root}/train2017/000000000001.jpg is (80, 64)",
        f"1 × truncated image: {picture}",
        "1 × box without area: annotation 2",
        f"1 × unreadable image: {root}/val2017/000000000001.jpg",
        f"1 × image that is not there: {root}/val2017/000000000002.jpg",
        "test_dataloader.dataset: as val_dataloader.dataset",
        "dog: 2 (",
    ):
        assert line in said


@pytest.mark.slow
def test_report_on_classifiers(tmp_path):
    folders = make_image_folders(tmp_path / "pets", NAMES)
    (folders / "train/.ipynb_checkpoints").mkdir()
    (folders / "val/snail").mkdir()
    said = report(classifier_config(tmp_path / "folders.py", folders), code=1)
    assert "1 × hidden folder as a class: .ipynb_checkpoints" in said
    assert "1 × class without images: snail" in said
    listed = make_imagenet(tmp_path / "listed")
    with (listed / "meta/train.txt").open("a") as file:
        file.write("n00000000/train_0000.JPEG 0\nno_label.JPEG\n")
    said = report(classifier_config(tmp_path / "listed.py", listed), code=1)
    assert "1 × line without a label: train.txt, line 10: 'no_label.JPEG'" in said
    assert "1 × two lines for an image: train.txt, line 9" in said


def test_data_that_is_not_there(tmp_path):
    said = report(detector_config(tmp_path / "det.py", tmp_path / "coco"), code=2)
    assert f"there is no folder: {tmp_path}/coco" in said
    assert "Traceback" not in said
