"""Classes: where data, config and heads disagree, it is said before the run."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_image_folders, make_imagenet
from mmdet.datasets import CocoDataset

import mmres_plugin  # noqa: F401
from mmres_plugin.config_files import load_config
from mmres_plugin.errors import UserError
from mmres_plugin.preflight import check, labels
from mmres_plugin.preflight.labels import head_outputs, wrong_labels

PETS = ["cat", "dog", "hare"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A detector's and a classifier's config, each for data of three own classes."""
    home = tmp_path_factory.mktemp("home")
    detector_config(home / "det.py", make_coco(home / "coco", names=PETS))
    classifier_config(home / "cls.py", make_image_folders(home / "pets", PETS))
    return home


def said(config: Path, loops=("train", "val"), **options) -> str:
    """What is wrong with the classes of a config with these options (``a__b`` for ``a.b``)."""
    options = {key.replace("__", "."): value for key, value in options.items()}
    return "\n".join(wrong_labels(load_config(str(config), options), loops))


def both(key: str, value) -> dict:
    """An option for the training set and the validation set."""
    return {f"{loop}_dataloader__dataset__{key}": value for loop in ("train", "val")}


def with_classes(*names: str) -> dict:
    return both("metainfo", {"classes": names})


def test_own_coco_without_names(home):
    """All that has to be written is said at once, and only of the loops that run."""
    message = said(home / "det.py")
    file = home / "coco/annotations/instances_train2017.json"
    assert f"train_dataloader.dataset: the classes are not those of {file}" in message
    assert "78 not in the file: person, bicycle, car, " in message  # cats and dogs are in COCO
    assert ", …; 1 only in the file: hare." in message
    assert "metainfo names none, so they are COCO's" in message
    assert "metainfo=dict(classes=['cat', 'dog', 'hare'])" in message
    assert "model.bbox_head.num_classes is 80, must be 3" in message
    assert "--cfg-options model.bbox_head.num_classes=3" in message
    assert "test_dataloader" not in message
    assert "test_dataloader" in said(home / "det.py", ("test",))


def test_own_coco_is_among_the_checks_before_a_run(home):
    cfg = load_config(str(home / "det.py"))
    cfg.work_dir = str(home / "none")
    with pytest.raises(UserError, match="the classes are not those of"):
        check(cfg, "train")


@pytest.mark.parametrize(
    ("classes", "outputs", "answer"),
    [
        (PETS, 3, None),
        (["cat", "hare"], 2, None),  # the others are left out, as MMDetection does
        (PETS, 2, "model.bbox_head.num_classes is 2, must be 3"),
        (PETS, 4, "model.bbox_head.num_classes is 4, must be 3"),
        (["cat", "Dog", "hare"], 3, "1 not in the file: Dog; 1 only in the file: dog."),
        (["dog", "cat", "hare"], 3, "in the order of the file, cat, dog, hare."),
        ("dog", 3, "3 not in the file: d, o, g; 3 only in the file: cat, dog, hare."),
    ],
)
def test_own_coco_with_names(home, classes, outputs, answer):
    names = both("metainfo", {"classes": classes})
    message = said(home / "det.py", model__bbox_head__num_classes=outputs, **names)
    assert answer in message if answer else message == ""


def test_names_from_a_file(home, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(PETS))
    names = both("metainfo", {"classes": str(tmp_path / "names.txt")})
    assert said(home / "det.py", model__bbox_head__num_classes=3, **names) == ""


def test_large_files_are_not_read(home, monkeypatch):
    """With names in the config the heads are still compared; COCO's own names say nothing."""
    monkeypatch.setattr(labels, "LARGEST_FILE", 10)
    assert said(home / "det.py") == ""
    message = said(home / "det.py", **with_classes("cat", "dog"))
    assert "model.bbox_head.num_classes is 80, must be 2" in message


@pytest.mark.parametrize("text", ['{"images": [', '{"images": []}', "[1]"])
def test_annotations_in_another_format(home, tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    message = said(home / "det.py", **both("ann_file", str(tmp_path / "bad.json")))
    assert f"{tmp_path}/bad.json is not in COCO's format, or is cut short" in message


def test_data_set_with_a_class_of_its_own(home):
    """Its names are its own affair, and so is a format other than COCO's."""
    assert said(home / "det.py", **both("type", "CityscapesDataset")).count("is 80, must be 8") == 1
    assert said(home / "det.py", **both("type", "LVISV1Dataset")) == ""


def test_all_heads_are_compared():
    two = [dict(type="Shared2FCBBoxHead", num_classes=80), dict(num_classes=3)]
    model = dict(
        rpn_head=dict(type="FCOSHead", num_classes=1, bbox_head=dict(num_classes=1)),
        roi_head=dict(bbox_head=two, mask_head=dict(num_classes=80, loss=dict(num_classes=7))),
    )
    assert list(head_outputs(dict(detector=model))) == [
        ("model.detector.roi_head.bbox_head.0.num_classes", 80),
        ("model.detector.roi_head.bbox_head.1.num_classes", 3),
        ("model.detector.roi_head.mask_head.num_classes", 80),
    ]


def test_image_folders_without_names(home):
    message = said(home / "cls.py")
    where = "train_dataloader.dataset: " + str(home / "pets/train")
    assert f"{where} has 3 class folders (cat, dog, hare)" in message
    assert "the classes are the 1000 of ImageNet: metainfo has none" in message
    assert "metainfo=dict(classes=['cat', 'dog', 'hare'])" in message
    assert "model.head.num_classes is 1000, must be 3" in message
    assert "val_evaluator.topk: there is no top-5 accuracy with 3 classes" in message


@pytest.mark.parametrize(
    ("classes", "outputs", "answer"),
    [
        (PETS, 3, None),
        (["tom", "rex", "bun"], 3, None),
        (PETS, 4, "model.head.num_classes is 4, must be 3"),
        (["cat", "dog"], 3, "has 3 class folders (cat, dog, hare)"),
        (["dog", "cat", "hare"], 3, "labelled in this order; the classes are dog, cat, hare."),
    ],
)
def test_image_folders_with_names(home, classes, outputs, answer):
    options = dict(model__head__num_classes=outputs, val_evaluator__topk=1)
    message = said(home / "cls.py", **options, **with_classes(*classes))
    assert answer in message if answer else message == ""


def test_a_folder_that_one_set_lacks(home, tmp_path):
    """Its labels would be others: they are the folders' places in the alphabet."""
    shutil.copytree(home / "pets", tmp_path / "pets")
    shutil.rmtree(tmp_path / "pets/val/cat")
    config = classifier_config(tmp_path / "cls.py", tmp_path / "pets")
    options = dict(model__head__num_classes=3, val_evaluator__topk=1)
    message = said(config, **options, **with_classes(*PETS))
    assert f"val_dataloader.dataset: {tmp_path}/pets/val has 2 class folders (dog, hare)" in message
    shutil.rmtree(tmp_path / "pets/val")
    (tmp_path / "pets/val").mkdir()
    assert f"there is none: {tmp_path}/pets/val/<class>/" in said(config)


def test_lists_of_images(tmp_path):
    """More outputs than labels are allowed: a list need not have every class."""
    config = classifier_config(tmp_path / "cls.py", make_imagenet(tmp_path / "in", classes=6))
    assert said(config) == ""
    assert said(config, model__head__num_classes=7) == ""
    message = said(config, model__head__num_classes=5)
    assert "model.head.num_classes is 5, must be 6 or more: train_dataloader.dataset has" in message
    assert "val_dataloader" not in message  # its labels are lower: 0 to 3


def test_categories_are_read_in_the_order_of_the_file(tmp_path):
    names = [{"id": 7, "name": "b"}, {"id": 1, "name": "a"}]
    (tmp_path / "a.json").write_text(json.dumps({"categories": names}))
    dataset = {"metainfo": {"classes": ["a", "b"]}}
    found = labels.coco_labels(dataset, CocoDataset, tmp_path / "a.json")
    assert "numbers classes in the order of the file, b, a." in found.problem
