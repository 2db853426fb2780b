"""Classes: where data, config and heads disagree, it is said before the run."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.configs import classifier_config, detector_config
from helpers.data import make_coco, make_image_folders, make_imagenet
from mmdet.datasets import CocoPanopticDataset
from mmres_plugin.rehearsal import build_datasets

import mmres_plugin  # noqa: F401
from mmres_plugin.checks import check
from mmres_plugin.checks.classes import class_number, head_outputs, wrong_labels
from mmres_plugin.config import load_config
from mmres_plugin.errors import UserError

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
    cfg = load_config(str(config), options)
    problems: list[str] = []
    datasets = build_datasets(cfg, loops, problems)
    problems += wrong_labels(cfg, {loop: built.dataset for loop, built in datasets.items()})
    return "\n".join(problems)


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
    assert "metainfo=dict(classes=['cat', 'dog', 'hare'])" in message
    assert "into each head: num_classes=3" in message
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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"images": [', "is not in COCO's format, or is cut short (JSONDecodeError"),
        ('{"images": []}', "cannot be trained on: 1 × missing key: categories of the file"),
        ("[1]", "is not in COCO's format, or is cut short (AssertionError"),
    ],
)
def test_annotations_in_another_format(home, tmp_path, text, answer):
    (tmp_path / "bad.json").write_text(text)
    message = said(home / "det.py", **both("ann_file", str(tmp_path / "bad.json")))
    assert message.startswith("train_dataloader.dataset")
    assert answer in message


def test_panoptic_data(home):
    """Heads tell things apart; the classes of the data are things and stuff."""
    dataset = SimpleNamespace(metainfo=CocoPanopticDataset.METAINFO)
    assert class_number(dataset) == (80, True)


def test_data_set_with_a_class_of_its_own(home):
    assert "8 not in the file: person, rider" in said(
        home / "det.py", **both("type", "CityscapesDataset")
    )


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
    assert (
        "train_dataloader.dataset: AssertionError: The number of subfolders (3) doesn't" in message
    )
    assert "specified classes (1000)" in message
    assert "metainfo=dict(classes=[…])" in message
    message = said(home / "cls.py", **with_classes(*PETS))
    assert "model.head.num_classes is 1000, must be 3" in message
    assert "val_evaluator.topk: there is no top-5 accuracy with 3 classes" in message


@pytest.mark.parametrize(
    ("classes", "outputs", "answer"),
    [
        (PETS, 3, None),
        (["tom", "rex", "bun"], 3, None),
        (PETS, 4, "model.head.num_classes is 4, must be 3"),
        (["cat", "dog"], 3, "number of subfolders (3) doesn't match the number of specified"),
        (["dog", "cat", "hare"], 3, "in the order cat, dog, hare; the classes are dog, cat, hare."),
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
    assert "val_dataloader.dataset: AssertionError: The number of subfolders (2)" in message
    shutil.rmtree(tmp_path / "pets/val")
    (tmp_path / "pets/val").mkdir()
    assert "The number of subfolders (0)" in said(config)


def test_lists_of_images(tmp_path):
    """More outputs than labels are allowed: a list need not have every class."""
    config = classifier_config(tmp_path / "cls.py", make_imagenet(tmp_path / "in", classes=6))
    assert said(config) == ""
    assert said(config, model__head__num_classes=7) == ""
    message = said(config, model__head__num_classes=5)
    assert "model.head.num_classes is 5, must be 6 or more: train_dataloader.dataset has" in message
    assert "val_dataloader" not in message  # its labels are lower: 0 to 3
