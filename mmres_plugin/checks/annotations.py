"""Annotations in COCO's format, as MMDetection's ``CocoDataset`` reads them."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf, isfinite
from typing import Any

from mmengine.logging import print_log

from ..errors import UserError, shortened
from .faults import DROPPED, STOPS, Fault, summary

# What MMDetection looks up in each entry of a list, and the types that it takes.
Number = (int, float)  # tuples: a million look-ups in a union take a second longer
Id = (int, str)
SHOWN = 10  # classes in a message
KEYS: dict[str, dict[str, Any]] = {
    "images": {"id": Id, "file_name": str, "width": Number, "height": Number},
    "categories": {"id": int, "name": str},
    "annotations": {
        **{"id": int, "image_id": Id, "category_id": int, "bbox": list, "area": Number}
    },
}


def coco_faults(content: Any) -> Iterator[Fault]:
    """The faults in the content of an annotation file."""
    if not isinstance(content, dict):
        yield Fault("not in the format", f"the file is a {type(content).__name__}, not an object")
        return
    for name, keys in KEYS.items():
        entries = content.get(name)
        if not isinstance(entries, list):
            yield Fault("missing key", f"{name} of the file")
            return
        yield from entry_faults(name, entries, keys)
    yield from reference_faults(content)


def entry_faults(name: str, entries: list, keys: dict[str, Any]) -> Iterator[Fault]:
    """Missing keys, wrong types and duplicate ids in one of the three lists."""
    known = set()
    right = set()  # types that were looked at and are right: COCO has a million annotations
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            yield Fault("wrong type", f"entry {index + 1} of {name}: {entry!r}")
            continue
        types = tuple(map(type, map(entry.get, keys)))
        if types not in right:
            faults = list(key_faults(entry, keys, label(name, entry, index)))
            yield from faults
            if not faults:
                right.add(types)
        identity = entry.get("id")
        if identity.__hash__ and identity is not None:
            if identity in known:
                yield Fault("duplicate id", label(name, entry, index))
            known.add(identity)


def key_faults(entry: dict, keys: dict[str, Any], where: str) -> Iterator[Fault]:
    """Missing keys and wrong types in one entry."""
    for key, kind in keys.items():
        if key not in entry:
            yield Fault("missing key", f"{key} of {where}")
        elif not isinstance(entry[key], kind):
            yield Fault("wrong type", f"{key} of {where}: {entry[key]!r}")


def reference_faults(content: dict) -> Iterator[Fault]:
    """Faults of boxes, and of what annotations refer to, where the keys are right."""
    images = {
        image["id"]: image
        for image in content["images"]
        if isinstance(image, dict) and isinstance(image.get("id"), Id)
    }
    known = [one.get("id") for one in content["categories"] if isinstance(one, dict)]
    categories = {number for number in known if isinstance(number, int)}
    for index, entry in enumerate(content["annotations"]):
        if not isinstance(entry, dict) or is_sound(entry, images, categories):
            continue
        number = entry.get("image_id")
        if isinstance(number, Id) and number not in images:
            yield Fault("unknown image", f"{label('annotations', entry, index)} (image {number})")
        number = entry.get("category_id")
        if isinstance(number, int) and number not in categories:
            where = label("annotations", entry, index)
            yield Fault("unknown category", f"{where} (category {number})")
        kind = box_fault(entry, images)
        if kind:
            yield Fault(kind, f"{label('annotations', entry, index)}: {entry['bbox']}")


def is_sound(entry: dict, images: dict, categories: set) -> bool:
    """Whether an annotation is surely without fault; quick, because nearly all of them are."""
    try:
        x, y, w, h = entry["bbox"]
        image = images[entry["image_id"]]
        return (
            entry["category_id"] in categories
            and 1 <= w < inf
            and 1 <= h < inf
            and entry["area"] > 0
            and -w < x < image["width"]
            and -h < y < image["height"]
        )
    except (KeyError, TypeError, ValueError):
        return False


def box_fault(entry: dict, images: dict) -> str | None:
    """The kind of fault that the box of an annotation has, or None."""
    box, area = entry.get("bbox"), entry.get("area")
    if not isinstance(box, list):
        return None  # named with the other keys
    if len(box) != 4 or not all(isinstance(side, Number) for side in box):
        return "wrong type"
    if not all(map(isfinite, box)):
        return "box is infinite or NaN"
    x, y, w, h = box
    if w < 1 or h < 1 or (isinstance(area, Number) and area <= 0):
        return "box without area"
    image = entry.get("image_id")
    image = images.get(image, {}) if isinstance(image, Id) else {}
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, Number) or not isinstance(height, Number):
        return None
    inside = x < width and y < height and x + w > 0 and y + h > 0
    return None if inside else "box outside the image"


def empty_faults(content: dict) -> Iterator[Fault]:
    """Images and classes without objects, in a content without faults that stop a training."""
    images = {entry["image_id"] for entry in content["annotations"]}
    classes = Counter(entry["category_id"] for entry in content["annotations"])
    for image in content["images"]:
        if image["id"] not in images:
            yield Fault("image without objects", f"{image['file_name']}")
    for category in content["categories"]:
        if not classes[category["id"]]:
            yield Fault("class without objects", category["name"])


def label(name: str, entry: dict, index: int) -> str:
    """How an entry of a list is called in a message."""
    singular = {"images": "image", "categories": "category", "annotations": "annotation"}[name]
    return f"{singular} {entry['id']}" if "id" in entry else f"{singular} no. {index + 1}"


@contextmanager
def inspected_annotations() -> Iterator[None]:
    """Look at each annotation file that MMDetection reads, when it has parsed it.

    What would stop it raises a :class:`UserError`; what it leaves out is counted once in the log.
    """
    try:
        from mmdet.datasets import CocoDataset
    except ImportError:  # classification alone
        yield
        return
    own = CocoDataset.COCOAPI

    class Inspected(own):
        def __init__(self, annotation_file: str | None = None) -> None:
            self.path = annotation_file
            try:
                super().__init__(annotation_file)
            except UserError:
                raise
            except Exception as error:  # of the parser, or of an index over what is not there
                reason = f"{type(error).__name__}: {error}"
                raise UserError(
                    [f"{self.path} is not in COCO's format, or is cut short ({reason})"]
                ) from error

        def createIndex(self) -> None:
            report(self.path, self.dataset)
            super().createIndex()

        def get_cat_ids(self, cat_names=[], sup_names=[], cat_ids=[]) -> list[int]:
            compare_classes(self.path, dict(self.dataset), cat_names)
            return super().get_cat_ids(cat_names, sup_names, cat_ids)

    CocoDataset.COCOAPI = Inspected
    try:
        yield
    finally:
        CocoDataset.COCOAPI = own


def compare_classes(path: str | None, content: dict, classes: Sequence[str]) -> None:
    """Raise an error if ``classes``, those of the config, are not those of the file.

    Some of them, in the order of the file, are enough: MMDetection leaves the others out.
    """
    names = [category["name"] for category in content["categories"]]
    lacking = [name for name in classes if name not in names]
    if not lacking and [name for name in names if name in classes] == list(classes):
        return
    differ = f"MMDetection numbers classes in the order of the file, {shortened(names, SHOWN)}"
    if lacking:
        differ = f"{len(lacking)} not in the file: {shortened(lacking, SHOWN)}"
        only = [name for name in names if name not in classes]
        if only:
            differ += f"; {len(only)} only in the file: {shortened(only, SHOWN)}"
    quoted = shortened(list(map(repr, names)), SHOWN)
    raise UserError(
        [
            f"the classes are not those of {path}: {differ}.\nIf the file is right, write into "
            f"each data set: metainfo=dict(classes=[{quoted}]), and into each head: "
            f"num_classes={len(names)}"
        ]
    )


def report(path: str | None, content: Any) -> None:
    """Raise an error for faults that stop a training; log what is left out of it."""
    lines: dict[str, list[str]] = {STOPS: [], DROPPED: []}
    for _, effect, line in summary(coco_faults(content)):
        lines.setdefault(effect, []).append(line)
    hint = "python tools/datasets/check_dataset.py CONFIG lists all"
    if lines[STOPS]:
        raise UserError([f"{path} cannot be trained on: {'; '.join(lines[STOPS])} ({hint})"])
    if lines[DROPPED]:
        print_log(
            f"{path}: MMDetection leaves out {'; '.join(lines[DROPPED])} ({hint})",
            logger="current",
            level=logging.WARNING,
        )
