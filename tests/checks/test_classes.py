"""Classes: where data, evaluators and heads disagree, it is said before the run."""

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.checks import problems, remarks
from helpers.configs import NARROW_DETECTOR, classifier_config, detector_config
from helpers.data import make_coco, make_image_folders, make_imagenet
from mmdet.datasets import CocoPanopticDataset
from mmengine.config import Config

import mmres_plugin  # noqa: F401
from mmres_plugin.checks import Setup
from mmres_plugin.checks.classes import class_number, head_outputs

PETS = ["cat", "dog", "hare"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A detector's and a classifier's config, each for data of three own classes."""
    home = tmp_path_factory.mktemp("home")
    detector_config(home / "det.py", make_coco(home / "coco", names=PETS), NARROW_DETECTOR)
    classifier_config(home / "cls.py", make_image_folders(home / "pets", PETS))
    return home


def both(key: str, value) -> dict:
    """An option for the training set and the validation set."""
    return {f"{loop}_dataloader__dataset__{key}": value for loop in ("train", "val")}


def with_classes(*names: str) -> dict:
    return both("metainfo", {"classes": names})


def test_own_coco_without_names(home):
    """All that has to be written is said at once, and only of the loops that run."""
    message = problems(home / "det.py")
    file = home / "coco/annotations/instances_train2017.json"
    assert f"train_dataloader.dataset: the classes are not those of {file}" in message
    assert "78 not in the file: person, bicycle, car, " in message  # cats and dogs are in COCO
    assert ", …; 1 only in the file: hare." in message
    assert "metainfo=dict(classes=['cat', 'dog', 'hare'])" in message
    assert "into each head: num_classes=3" in message
    assert "test_dataloader" not in message
    assert "test_dataloader" in problems(home / "det.py", "test")


@pytest.mark.parametrize(
    ("classes", "outputs", "error", "remark"),
    [
        (PETS, 3, "", ""),
        (["cat", "hare"], 2, "", ""),  # the others are left out, as MMDetection does
        ([*PETS, "newt"], 4, "", "has no objects of 1 classes: newt"),  # labels are right
        (PETS, 2, "model.bbox_head.num_classes is 2, must be 3", ""),
        (PETS, 4, "", "model.bbox_head.num_classes is 4, and should be 3"),
        (["cat", "Dog", "hare"], 3, "1 not in the file: Dog; 1 only in the file: dog.", ""),
        (["cat", "dog", "Hare"], 3, "1 not in the file: Hare; 1 only in the file: hare.", ""),
        (["dog", "cat", "hare"], 3, "in the order of the file, cat, dog, hare.", ""),
    ],
)
def test_own_coco_with_names(home, classes, outputs, error, remark):
    options = dict(model__bbox_head__num_classes=outputs, **with_classes(*classes))
    for expected, message in ((error, problems), (remark, remarks)):
        said = message(home / "det.py", **options)
        assert expected in said
        assert bool(expected) == bool(said)


def test_names_from_a_file(home, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(PETS))
    names = with_classes()
    names = both("metainfo", {"classes": str(tmp_path / "names.txt")})
    assert problems(home / "det.py", model__bbox_head__num_classes=3, **names) == ""


def test_names_in_a_text(home):
    """A tuple without its comma: MMDetection takes it, and so do we."""
    options = dict(model__bbox_head__num_classes=1, **both("metainfo", {"classes": "cat"}))
    assert problems(home / "det.py", **options) == ""
    assert "Write a list: classes=['cat']" in remarks(home / "det.py", **options)


def test_panoptic_data():
    """Heads tell things apart; the classes of the data are things and stuff."""
    dataset = dict(type=CocoPanopticDataset, ann_file="panoptic.json")
    [data] = Setup(Config(dict(train_dataloader=dict(dataset=dataset))), "train").sets
    assert class_number(data) == (80, True)


def test_data_set_with_a_class_of_its_own(home):
    message = problems(home / "det.py", **both("type", "CityscapesDataset"))
    assert "8 not in the file: person, rider" in message


def test_heads_of_mmdetection_are_compared():
    """Those of unknown types may mean something else by ``num_classes``."""
    two = [dict(type="Shared2FCBBoxHead", num_classes=80), dict(num_classes=3)]
    model = dict(
        rpn_head=dict(type="FCOSHead", num_classes=1, bbox_head=dict(num_classes=1)),
        roi_head=dict(bbox_head=two, mask_head=dict(type="FCNMaskHead", num_classes=8)),
        neck=dict(head=dict(type="MyHead", num_classes=7)),
    )
    setup = Setup(Config(dict(model=dict(detector=model), default_scope="mmdet")), "train")
    assert list(head_outputs(setup.model_parts)) == [
        ("model.detector.roi_head.bbox_head.0.num_classes", 80),
        ("model.detector.roi_head.mask_head.num_classes", 8),
    ]


# Evaluators


def evaluator_file(home: Path, path: Path, change) -> str:
    """What is said of an evaluator whose file is a changed copy of the data set's."""
    content = json.loads((home / "coco/annotations/instances_val2017.json").read_text())
    change(content)
    path.write_text(json.dumps(content))
    options = dict(model__bbox_head__num_classes=3, val_evaluator__ann_file=str(path))
    options |= with_classes(*PETS)
    return problems(home / "det.py", **options) or remarks(home / "det.py", **options)


def test_evaluator_with_another_file(home, tmp_path):
    path = tmp_path / "other.json"
    said = evaluator_file(home, path, lambda c: c["categories"].reverse())
    assert f"val_evaluator.ann_file: the classes are not those of {path}" in said
    said = evaluator_file(home, path, lambda c: c["images"][0].update(file_name="9.jpg"))
    assert "image 1 is 000000000001.jpg in one, 9.jpg in the other" in said
    said = evaluator_file(home, path, lambda c: c["images"].pop())
    assert "it lacks 000000000002.jpg" in said
    assert f"Write val_evaluator.ann_file={home}/coco/annotations/instances_val2017.json" in said
    said = evaluator_file(home, path, lambda c: c["images"].append(dict(id=9, file_name="9.jpg")))
    assert "they have 3 and 2 images" in said


def test_two_data_sets_for_one_metric(home, tmp_path):
    two = f"""_base_ = {str(home / "det.py")!r}
v = _base_.val_dataloader.dataset
t = dict(v, ann_file='annotations/instances_train2017.json', data_prefix=dict(img='train2017/'))
val_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=[v, t]))
"""
    (tmp_path / "two.py").write_text(two)
    assert "type='MultiDatasetsEvaluator'" in problems(tmp_path / "two.py")
    (tmp_path / "two.py").write_text(
        two + "m = _base_.val_evaluator\n"
        "val_evaluator = dict(_delete_=True, type='MultiDatasetsEvaluator', metrics=[m, m],\n"
        "    dataset_prefixes=['a', 'b'])\n"
    )
    assert "val_evaluator" not in problems(tmp_path / "two.py")


# Folders and lists


@pytest.mark.parametrize(
    ("classes", "outputs", "error", "remark"),
    [
        (PETS, 3, "", ""),
        (["tom", "rex", "bun"], 3, "", ""),
        (PETS, 4, "", "model.head.num_classes is 4, and should be 3"),
        (PETS, 2, "model.head.num_classes is 2, must be 3", ""),
        (["cat", "dog"], 3, "has 3 class folders, and the data set 2 classes", ""),
        (["dog", "cat", "hare"], 3, "in the order cat, dog, hare; the classes are dog, cat", ""),
    ],
)
def test_image_folders_with_names(home, classes, outputs, error, remark):
    options = dict(model__head__num_classes=outputs, val_evaluator__topk=1)
    options |= with_classes(*classes)
    for expected, message in ((error, problems), (remark, remarks)):
        said = message(home / "cls.py", **options)
        assert expected in said
        assert bool(expected) == bool(said)


def test_metric_of_more_classes_than_the_head_has(home):
    message = problems(home / "cls.py", model__head__num_classes=3, **with_classes(*PETS))
    assert "val_evaluator.topk: there is no top-5 accuracy with 3 classes: topk=(1,)" in message


@pytest.mark.parametrize(
    ("old", "new", "error", "remark"),
    [
        ("dog", "bird", "cat is 1, cat is 0", ""),  # bird, cat, hare after cat, dog, hare
        ("dog", "Dog", "Dog is 0, dog is 1", ""),  # capitals come first
        ("hare", "newt", "", "only in {0}/val: newt; only in {0}/train: hare"),
        ("cat", None, "dog is 0, dog is 1", ""),
        ("hare", None, "", "only in {0}/train: hare"),
    ],
)
def test_folders_that_differ(home, tmp_path, old, new, error, remark):
    """A label is the place of a folder in the alphabet."""
    root = tmp_path / "pets"
    shutil.copytree(home / "pets", root)
    if new:
        os.rename(root / "val" / old, root / "val" / new)
    else:
        shutil.rmtree(root / "val" / old)
    config = classifier_config(tmp_path / "cls.py", root)
    options = dict(model__head__num_classes=3, val_evaluator__topk=1)
    for loop in ("train", "val"):
        options[f"{loop}_dataloader__dataset"] = dict(
            _delete_=True, type="CustomDataset", data_root=str(root), data_prefix=loop, pipeline=[]
        )
    said = problems(config, **options)
    assert error in said
    assert bool(error) == bool(said)
    assert remark.format(root) in remarks(config, **options)


def test_folder_of_no_classes(home, tmp_path):
    shutil.copytree(home / "pets", tmp_path / "pets")
    for path in (tmp_path / "pets/val").rglob("*.JPEG"):
        path.unlink()
    config = classifier_config(tmp_path / "cls.py", tmp_path / "pets")
    assert "there is no image in the class folders of" in problems(config, **with_classes(*PETS))


def test_lists_of_images(tmp_path):
    """More outputs than labels are allowed: a list need not have every class."""
    root = make_imagenet(tmp_path / "in", classes=6)
    config = classifier_config(tmp_path / "cls.py", root)
    assert problems(config) == ""
    assert problems(config, model__head__num_classes=7) == ""
    message = problems(config, model__head__num_classes=5)
    assert "model.head.num_classes is 5, must be 6 or more: train_dataloader.dataset has" in message
    assert "val_dataloader" not in message  # its labels are lower: 0 to 3
    path = root / "meta/train.txt"
    lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines()]
    path.write_text("\n".join(f"{name} {int(label) + 1}" for name, label in lines))
    cure = "its labels start at 1, and should at 0: subtract 1"
    assert cure in problems(config, model__head__num_classes=6)
    assert cure in remarks(config, model__head__num_classes=7)
