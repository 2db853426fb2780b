"""What the data sets of a config hold; a run and ``mmres check`` read them with this."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config_parts import as_list
from ..errors import shortened
from ..images import SUFFIXES
from .annotations import ID, Objects, nothing_left, wrong_classes
from .datasets import COCO, DataSet
from .faults import CHANGES, DROPPED, STOPS, Remark
from .folders import folder_images, images_in, listed_images

MANY = 0.1  # a share of the boxes far beyond their images that is worth a remark
HINT = "`mmres check CONFIG` lists all"


def read_data(data: DataSet) -> None:
    """Read a data set that ``is_judged``; its files must be there."""
    data.is_read = True
    if data.reader == COCO:
        _read_coco(data)
    else:
        _read_classes(data)
    first = next((path for path, _ in data.images), None)
    loader = data.loader
    if first and loader and loader.is_local and not loader.ignore_empty and not first.is_file():
        data.problems.append(f"{data.key}: its first image is not there: {first}")
    for effect, verb in (
        (STOPS, "cannot be trained on:"),
        (DROPPED, "is read in part. MMDetection leaves out"),
        (CHANGES, "may be learned wrongly:"),
    ):
        lines = "; ".join(data.faults.lines(effect))
        text = f"{data.key}: {data.file or data.folder} {verb} {lines} ({HINT})"
        if lines:
            data.problems.append(text if effect == STOPS else Remark(text))


def coco_lists(path: Path) -> tuple[Any, list[str], dict[Any, str]]:
    """The content of a file in COCO's format, names of its categories and its images by their ids.

    Raises:
        ValueError: It is no JSON that pycocotools reads.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}, or it is cut short, or not UTF-8 without a byte order mark ({error})"
        ) from error
    lists = content if isinstance(content, dict) else {}
    categories, images = (as_list(lists.get(name)) for name in ("categories", "images"))
    names = [str(one.get("name")) for one in categories if isinstance(one, dict)]
    ids = {
        one["id"]: str(one.get("file_name"))
        for one in images
        if isinstance(one, dict) and isinstance(one.get("id"), ID)
    }
    return content, names, ids


def _read_coco(data: DataSet) -> None:
    assert data.file is not None
    try:
        data.raw, data.names, data.ids = coco_lists(data.file)
    except ValueError as error:
        data.faults.add("not in the format", str(error))
        return
    step, classes = data.objects or {}, data.classes or data.names
    poly2mask = step.get("poly2mask", True) if step.get("with_mask") else None
    objects = Objects(data.raw, classes, poly2mask)
    data.faults = objects.faults
    if list(data.faults.lines(STOPS)):
        return
    data.images = [
        ((data.folder or Path()) / one["file_name"], (one["width"], one["height"]))
        for one in objects.images.values()
    ]
    problem, is_wrong = wrong_classes(data.file, data.names, classes)
    if problem:
        text = f"{data.key}: {problem}"
        data.problems.append(text if is_wrong else Remark(text))
    testing = data.settings.get("test_mode")
    reason, no_image = nothing_left(objects, None if testing else data.settings.get("filter_cfg"))
    if reason and not is_wrong:
        # Of several data sets one may be without objects, and unlabelled ones load none.
        learns = data.loop == "train" and step and ".datasets." not in data.key
        text = f"{data.key}: nothing is left to learn of {data.file}: {reason}"
        data.problems.append(text if no_image or learns else Remark(text))
    far = data.faults.count["box far beyond its image"]
    if far > MANY * objects.total:
        text = f"{far:,} of {objects.total:,} boxes reach far beyond their images."
        cure = "Are they x1, y1, x2, y2? They must be x, y, width, height."
        data.problems.append(Remark(f"{data.key}: {data.file}: {text} {cure}"))


def _read_classes(data: DataSet) -> None:
    """Read image folders or a list of images."""
    with_label = data.settings.get("with_label", data.settings.get("split") != "test")
    suffixes = data.settings.get("extensions", SUFFIXES)
    if data.file:
        folder = data.folder or Path()
        data.labels = dict(listed_images(data.file, folder, with_label, data.faults))
    elif data.folder and with_label:
        data.labels, passed_over = folder_images(data.folder, suffixes, data.faults)
        data.names = list(data.labels)
        data.problems += _wrong_folders(data)
        data.problems += [Remark(f"{data.key}: {passed_over}")] if passed_over else []
    elif data.folder:
        data.labels = {0: images_in(data.folder, suffixes, data.faults)[0]}
    data.images = [(path, None) for paths in data.labels.values() for path in paths]


def _wrong_folders(data: DataSet) -> Iterator[str]:
    """Errors where the classes of the config are not the class folders."""
    names, classes = data.names, data.classes
    if not any(data.labels.values()):
        yield f"{data.key}: there is no image in the class folders of {data.folder}"
    elif classes is not None and len(classes) != len(names):
        quoted = shortened(list(map(repr, names)), 10)
        yield (
            f"{data.key}: {data.folder} has {len(names)} class folders, and the data set "
            f"{len(classes)} classes. If the folders are right, write their names into it in "
            f"alphabetical order: metainfo=dict(classes=[{quoted}])"
        )
    elif classes is not None and classes != names and sorted(classes) == sorted(names):
        yield (
            f"{data.key}: the class folders are labelled in the order {shortened(names, 10)}; the "
            f"classes are {shortened(classes, 10)}."
        )
