"""Faults in the data: what stops a training is an error, what it leaves out is a remark."""

import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import run
from helpers.checks import problems, remarks
from helpers.configs import NARROW_DETECTOR, classifier_config, detector_config
from helpers.data import make_coco, make_image_folders, make_imagenet
from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS, DefaultScope

from mmres_plugin.checks.faults import DROPPED, KINDS, STOPS
from mmres_plugin.config import load_config

WRONG = "missing or wrong value"
NAMES = ["cat", "dog", "hare"]
ANNOTATIONS = "annotations/instances_train2017.json"
WITH_MASKS = "p = _base_.train_dataloader.dataset.pipeline\np[1].with_mask = True\n"


@pytest.fixture
def detector(tmp_path) -> Path:
    """A config for data of three classes."""
    names = f"dict(classes={NAMES})"
    extra = f"{NARROW_DETECTOR}model['bbox_head'].update(num_classes=3)\n"
    extra += f"meta = dict(metainfo={names})\n"
    extra += "train_dataloader['dataset'].update(meta); val_dataloader['dataset'].update(meta)\n"
    return detector_config(
        tmp_path / "det.py", make_coco(tmp_path / "coco", train=4, names=NAMES), extra
    )


def spoil(config: Path, change) -> Path:
    """Change the annotations that ``config`` trains on; return their file."""
    path = config.parent / "coco" / ANNOTATIONS
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def objects(config: Path) -> int:
    """How many objects the real data set hands out, read image by image."""
    cfg = load_config(config)
    settings = cfg.train_dataloader.dataset
    # Without its filter and transforms that may cut objects away.
    settings.update(filter_cfg=None, pipeline=settings.pipeline[:2])
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(settings)
    samples = [dataset[index] for index in range(len(dataset))]
    return sum(int((~sample["gt_ignore_flags"]).sum()) for sample in samples)


def put(entries: str, key: str, value):
    return lambda content: content[entries][1].update({key: value})


def drop(entries: str, key: str):
    return lambda content: content[entries][1].pop(key)


def repeat(entries: str, **changes):
    return lambda content: content[entries].append({**content[entries][1], **changes})


def box(*sides):
    return put("annotations", "bbox", list(sides))


# What is done to a good file, what is said, and of what.
FAULTS = [
    (lambda c: c.update(images=None), WRONG, "images of the file"),
    (lambda c: c.pop("categories"), WRONG, "categories of the file"),
    (lambda c: c["images"].append("7.jpg"), WRONG, "entry 5 of images"),
    (lambda c: c["annotations"].append(None), WRONG, "entry 5 of ann"),
    (drop("images", "file_name"), WRONG, "file_name of image 2"),
    (put("images", "height", "64"), WRONG, "height of image 2"),
    (drop("images", "id"), WRONG, "id of image no. 2"),
    (drop("categories", "name"), WRONG, "name of category 2"),
    (drop("annotations", "category_id"), WRONG, "category_id of annotation 2"),
    (put("annotations", "image_id", [2]), WRONG, "image_id of annotation 2"),
    (drop("annotations", "id"), WRONG, "id of annotation no. 2"),
    (drop("annotations", "area"), WRONG, "area of annotation 2"),
    (put("annotations", "area", "9"), WRONG, "area of annotation 2"),
    (drop("annotations", "bbox"), WRONG, "bbox of annotation 2"),
    (put("annotations", "bbox", None), WRONG, "bbox of annotation 2"),
    (box(1, 2, 3), WRONG, "annotation 2"),
    (box("1", 2, 3, 4), WRONG, "annotation 2"),
    (repeat("annotations"), "duplicate id", "annotation 2"),
    (box(1, 2, float("nan"), 4), "box without area", "annotation 2"),
    (box(1, float("-inf"), 3, 4), "box outside the image", "annotation 2"),
    (box(1, 2, 0, 4), "box without area", "annotation 2"),
    (box(0.2, 0.2, 0.5, 0.5), "box without area", "annotation 2"),
    (put("annotations", "area", 0), "box without area", "annotation 2"),
    (box(99, 99, 5, 5), "box outside the image", "annotation 2"),
    (box(-9, 1, 5, 5), "box outside the image", "annotation 2"),
    (put("annotations", "category_id", 9), "unknown category", "annotation 2 (category 9)"),
    (put("annotations", "category_id", "2"), "unknown category", "annotation 2"),
    (put("annotations", "image_id", 99), "unknown image", "annotation 2 (image 99)"),
    (put("annotations", "image_id", "2"), "unknown image", "annotation 2"),
]


@pytest.mark.parametrize(("change", "kind", "where"), FAULTS)
def test_fault_in_annotations(detector, change, kind, where):
    """The real data set agrees: it fails, or hands out one object less."""
    path = spoil(detector, change)
    if KINDS[kind] == STOPS:
        said = problems(detector)
        assert f"{path} cannot be trained on: 1 × {kind}" in said
        with pytest.raises((KeyError, TypeError, ValueError, AssertionError, AttributeError)):
            objects(detector)
    else:
        assert KINDS[kind] == DROPPED
        assert problems(detector) == ""
        said = remarks(detector)
        assert f"{path} is read in part. MMDetection leaves out 1 × {kind}" in said
        assert objects(detector) == 3
    assert where in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (repeat("images", file_name="9.jpg"), "1 × duplicate id: image 2"),
        (repeat("categories", id=7), "1 × duplicate category name: 'dog'"),
        (repeat("categories", name="newt"), "1 × duplicate id: category 2"),
    ],
)
def test_annotations_that_would_be_learned_wrongly(detector, change, said):
    spoil(detector, change)
    assert said in problems(detector)


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (None, "object without a mask"),
        ([], "object without a mask"),
        ([1, 1, 9, 1, 9, 9], "mask that cannot be read"),
        ({"size": [64, 80], "counts": [-9, 64 * 80 + 9]}, "mask that cannot be read"),
        ({"size": [9, 9], "counts": [81]}, "mask of another size"),
        ([[1, 1, 2, 2]], "mask without area"),
        ([[1, 1, 9, 1, 9, 9, 3]], "mask without area"),
        ({"size": [64, 80]}, "mask without area"),
        ({"size": [64, 80], "counts": [20, 20, 64 * 80 - 40]}, None),
        ([{"size": [9, 9]}, [1, 1], [1, 1, 9, 1, 9, 9]], None),
    ],
)
def test_masks(detector, mask, kind):
    """They are read only where the pipeline loads them."""
    spoil(detector, put("annotations", "segmentation", mask))
    assert problems(detector) + remarks(detector) == ""
    masked = detector.with_name("masked.py")
    masked.write_text(
        f"_base_ = 'det.py'\n{WITH_MASKS}train_dataloader = dict(dataset=dict(pipeline=p))"
    )
    said = problems(masked) or remarks(masked)
    assert f"1 × {kind}" in said if kind else said == ""
    if kind and KINDS[kind] == STOPS:
        with pytest.raises((KeyError, TypeError, ValueError, OverflowError)):
            objects(masked)
    else:
        assert objects(masked) == (3 if kind else 4)


@pytest.mark.parametrize("number", [None, float("nan"), 1e9])
def test_points_of_no_image(detector, number):
    """The real data set would ask for gigabytes, or end the process."""
    spoil(detector, put("annotations", "segmentation", [[1, 1, 9, 1, number, 9]]))
    detector.write_text(
        f"{detector.read_text()}{WITH_MASKS}train_dataloader['dataset'].update(pipeline=p)"
    )
    assert "1 × mask that cannot be read" in problems(detector)


def each(**values):
    def change(content: dict) -> None:
        for entry in content["annotations"]:
            entry.update(values)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(annotations=[]), "filter_empty_gt leaves out 4 images"),
        (lambda c: c.pop("annotations"), "filter_empty_gt leaves out 4 images"),
        (each(iscrowd=1), "4 × crowd: annotation 1"),
        (each(ignore=True), "4 × ignored object: annotation 1"),
        (each(bbox=[0.1, 0.2, 0.5, 0.5]), "Are the boxes shares of the image, from 0 to 1?"),
        (each(category_id=9), "4 × unknown category"),
        (each(image_id="1"), "4 × unknown image"),
        (
            lambda c: [image.update(width=20) for image in c["images"]],
            "4 of 4 images are below filter_cfg.min_size=32",
        ),
    ],
)
def test_nothing_left_to_learn(detector, change, said):
    path = spoil(detector, change)
    found = problems(detector)
    assert f"nothing is left to learn of {path}: " in found
    assert said in found


def test_string_ids_are_allowed(detector):
    def change(content: dict) -> None:
        for entry in content["images"]:
            entry["id"] = f"a{entry['id']}"
        for entry in content["annotations"]:
            entry.update(image_id=f"a{entry['image_id']}", id=f"b{entry['id']}")

    spoil(detector, change)
    assert problems(detector) + remarks(detector) == ""
    assert objects(detector) == 4


def test_boxes_given_by_two_corners(detector):
    spoil(detector, each(bbox=[30, 30, 70, 60]))
    assert problems(detector) == ""
    assert "4 of 4 boxes reach far beyond their images. Are they x1, y1, x2" in remarks(detector)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b'{"images": [', "not in the format: {}, or it is cut short"),
        (b'{"images": []}', "missing or wrong value: categories of the file"),
        (b'{"images": 5}', "missing or wrong value: images of the file"),
        (b"[1]", "the file is a list"),
        (b"\xef\xbb\xbf{}", "UTF-8 without a byte order mark"),
        ("{}".encode("utf-16"), "UTF-8 without a byte order mark"),
        (b"[" * 100_000, "not in the format: {}, or it is cut short"),
        (b'{"images": [], "categories": []}', "{} has no categories"),
    ],
)
def test_annotations_in_another_format(detector, text, answer):
    path = detector.parent / "coco" / ANNOTATIONS
    path.write_bytes(text)
    assert answer.format(path) in problems(detector)


def test_first_image_that_is_not_there(detector):
    spoil(
        detector, lambda c: [one.update(file_name="x/" + one["file_name"]) for one in c["images"]]
    )
    assert "its first image is not there" in problems(detector)


class Tiles(CocoDataset):
    """A data set with a format of its own, whose annotations are a folder, as DOTA's."""

    def load_data_list(self):
        return []


def test_format_of_its_own(detector):
    """Nothing is said of it, except that `mmres check` cannot judge it."""
    cfg = load_config(detector)
    root = cfg.train_dataloader.dataset.data_root
    option = {"type": Tiles, "ann_file": "train2017", "data_root": root, "_delete_": True}
    option["pipeline"] = cfg.train_dataloader.dataset.pipeline
    options = {"train_dataloader__dataset": option}
    assert problems(detector, **options) == ""
    option["ann_file"] = "gone"
    assert problems(detector, **options) == ""
    assert "there is no file" in remarks(detector, **options)


def test_pickles_are_named_before_they_are_read(detector):
    said = remarks(detector, train_dataloader__dataset__proposal_file="p.pkl")
    assert "train_dataloader.dataset.proposal_file: p.pkl is a pickle, and reading one" in said


# Lists of images


@pytest.mark.parametrize(
    ("line", "kind", "cure"),
    [
        ("a.JPEG,1", "line without a label", "separate path and label by a blank, not by a comma"),
        ("a.JPEG\t1", "line without a label", "not by a tab"),
        ("", "line without a label", "remove the empty line"),
        ("image label", "line without a label", "remove the header"),
        ("a.JPEG dog", "line without a label", "a label is the number of a class, from 0"),
        ("a.JPEG 1.0", "line without a label", "a label is the number of a class, from 0"),
        ("a.JPEG -1", "label below 0", "'a.JPEG -1'"),
    ],
)
def test_line_of_a_list(tmp_path, line, kind, cure):
    root = make_imagenet(tmp_path / "in")
    config = classifier_config(tmp_path / "cls.py", root)
    path = root / "meta/train.txt"
    path.write_text(f"{line}\n{path.read_text()}")
    said = problems(config)
    assert f"{path} cannot be trained on: 1 × {kind}: {path}, line 1: {line!r}" in said
    assert cure in said


def test_only_line_breaks_end_a_line(tmp_path):
    root = make_imagenet(tmp_path / "in")
    path = root / "meta/train.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\x0c\r\n"))  # the label is stripped
    assert problems(classifier_config(tmp_path / "cls.py", root)) == ""


def test_link_that_leads_back(tmp_path):
    root = make_image_folders(tmp_path / "pets", NAMES)
    (root / "train/cat/again").symlink_to(root / "train/cat")
    said = problems(classifier_config(tmp_path / "cls.py", root))
    assert f"1 × folder that cannot be read: {root}/train/cat (Too many levels" in said


def test_suffixes_that_vanish(tmp_path):
    root = make_image_folders(tmp_path / "pets", NAMES)
    (root / "train/cat/a.webp").touch()
    (root / "train/cat/._b.JPEG").touch()  # hidden: MMEngine does not list it
    extra = f"train_dataloader['dataset']['metainfo'] = dict(classes={NAMES})\n"
    extra += "val_dataloader['dataset']['metainfo'] = dict(classes=['cat', 'dog', 'hare'])\n"
    config = classifier_config(tmp_path / "cls.py", root, extra)
    options = dict(model__head__num_classes=3, val_evaluator__topk=1)
    assert problems(config, **options) == ""
    said = remarks(config, **options)
    assert f"1 images in {root}/train are passed over, as they end in .webp" in said
    assert "extensions=('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.webp')" in said


# mmres check


def report(config: Path, *options: object, code: int) -> str:
    return run("mmres", "check", config, "--workers=1", *options, code=code, cwd=config.parent)


def test_good_detector(detector):
    said = report(detector, "--picture=a.png", code=0)
    assert said.rstrip().endswith("No faults.")
    assert (detector.parent / "a.png").stat().st_size > 1000


def test_report_on_a_detector(detector):
    root = detector.parent / "coco"

    def change(content: dict) -> None:
        content["images"][0]["width"] += 1
        content["annotations"][1]["bbox"][2] = 0

    spoil(detector, change)
    picture = root / "train2017/000000000003.jpg"
    picture.write_bytes(picture.read_bytes()[:900])  # cv2.imread would take it, imdecode does not
    (root / "val2017/000000000001.jpg").write_bytes(b"")
    (root / "val2017/000000000002.jpg").unlink()
    linked = root / "train2017/000000000004.jpg"
    linked.rename(root / "elsewhere.jpg")
    linked.symlink_to(root / "elsewhere.jpg")
    said = report(detector, code=1)
    for line in (
        f"train_dataloader.dataset ({root}/{ANNOTATIONS}): 4 images",
        f"1 × image has another size: {root}/train2017/000000000001.jpg is (80, 64)",
        f"1 × unreadable image: {picture} (it is damaged, cut short or no image",
        "1 × box without area: annotation 2",
        f"1 × unreadable image: {root}/val2017/000000000001.jpg (it is empty)",
        f"1 × image that is not there: {root}/val2017/000000000002.jpg",
        "test_dataloader.dataset: as val_dataloader.dataset",
        "dog: 2 (",
        "There are faults.",
    ):
        assert line in said


@pytest.mark.parametrize("name", ["samples", "a.xyz", "/proc/a.png"])
def test_picture_that_cannot_be_written(detector, name):
    """Said before the images are read."""
    said = report(detector, f"--picture={name}", code=2)
    assert "must end in .png or .jpg" in said or "/proc/a.png cannot be written" in said


@pytest.mark.slow
def test_report_says_what_training_says(detector):
    """Other classes, and what is not data at all."""
    detector.write_text(detector.read_text() + "model['backbone']['dpeth'] = 18\n")
    assert "model.backbone.dpeth: SReResNet has no argument 'dpeth'" in report(detector, code=1)
    config = detector_config(detector.with_name("coco.py"), detector.parent / "coco")
    assert "error: train_dataloader.dataset: the classes are not those" in report(config, code=1)


def test_data_that_cannot_be_judged(detector):
    options = [f"{loop}_dataloader.dataset.type=CrowdHumanDataset" for loop in ("train", "val")]
    said = report(detector, "--loops", "train", "val", "--cfg-options", *options, code=1)
    assert said.rstrip().splitlines()[-1].startswith("Not judged, as its format is not known here")


def test_report_on_classifiers(tmp_path):
    folders = make_image_folders(tmp_path / "pets", NAMES)
    (folders / "train/.ipynb_checkpoints").mkdir()
    (folders / "val/snail").mkdir()
    said = report(classifier_config(tmp_path / "folders.py", folders), code=1)
    assert f"1 × hidden folder as a class: {folders}/train/.ipynb_checkpoints" in said
    assert f"1 × class without images: {folders}/val/snail" in said
    listed = make_imagenet(tmp_path / "listed")
    dark = np.full((48, 48), 4000, np.uint16)
    cv2.imwrite(str(listed / "train/n00000000/dark.png"), dark)
    huge = cv2.imencode(".png", dark)[1].tobytes()
    header = b"IHDR" + (25_000).to_bytes(4, "big") * 2 + huge[24:29]
    header += zlib.crc32(header).to_bytes(4, "big")
    (listed / "train/n00000000/huge.png").write_bytes(huge[:12] + header + huge[33:])
    with (listed / "meta/train.txt").open("a") as file:
        file.write("n00000000/train_0000.JPEG 0\nn00000000/dark.png 0\nn00000000/huge.png 0\n")
    said = report(classifier_config(tmp_path / "listed.py", listed), code=1)
    assert f"1 × two lines for an image: {listed}/meta/train.txt, line 9" in said
    assert "16-bit image of less than 13 bits, read as 8 bits" in said
    assert "it announces 25000 × 25000 pixels" in said
