"""Annotations in COCO's format, as MMDetection's ``CocoDataset`` reads them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from ..errors import shortened
from .faults import DROPPED, PASSED_OVER, Faults

NUMBER, ID = (int, float), (int, str, float)
# What MMDetection looks up in each entry of a list, and the types that it takes.
FIELDS: dict[str, dict[str, Any]] = {
    "images": {"id": ID, "file_name": str, "width": NUMBER, "height": NUMBER},
    "categories": {"id": ID, "name": str},
    "annotations": {"id": ID, "image_id": ID, "category_id": ID},
}
SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}
WRONG = "missing or wrong value"
UNREADABLE = "mask that cannot be read"
FARTHEST = 1e6  # pixels: no point of a polygon is so far from its image
FAR = 1.1  # a box that reaches further than this, in sizes of its image, may be x1, y1, x2, y2


class Objects:
    """The faults of an annotation file, and what is left of its objects.

    Args:
        content: What the file holds.
        classes: Names of the classes to learn; the others are left out.
        poly2mask: How the pipeline loads masks, as MMDetection's ``LoadAnnotations``; None if it
            loads none.

    Attributes:
        faults: What is wrong with the file, and why objects are not learned.
        left: How many objects are left.
        total: How many objects there are.
        images: The images by their ids.
        occupied: Ids of the images with an object of ``classes``.
    """

    def __init__(self, content: Any, classes: Sequence[str], poly2mask: bool | None = None) -> None:
        self.faults, self.poly2mask = Faults(), poly2mask
        self.left = self.total = 0
        self.images: dict[Any, dict] = {}
        self.occupied: set = set()
        if not isinstance(content, dict):
            self.faults.add("not in the format", f"the file is a {type(content).__name__}")
            return
        content = {"annotations": [], **content}  # of pictures to test on there are none
        sound = {name: self._sound(name, content.get(name)) for name in FIELDS}
        for name, count in Counter(one["name"] for one in sound["categories"]).items():
            if count > 1:
                self.faults.add("duplicate category name", f"{name!r}")
        self.images = {one["id"]: one for one in sound["images"]}
        self.known = {one["id"] for one in sound["categories"]}
        self.wanted = {one["id"] for one in sound["categories"] if one["name"] in classes}
        self.total = len(sound["annotations"])
        for entry in sound["annotations"]:
            fault = self._fault(entry)
            if fault:
                self.faults.add(*fault)
            else:
                self.left += 1

    def _sound(self, name: str, entries: Any) -> list[dict]:
        """The entries of a list that have all of :data:`FIELDS`, with values of their types."""
        if not isinstance(entries, list):
            self.faults.add(WRONG, f"{name} of the file")
            return []
        sound = []
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                self.faults.add(WRONG, f"entry {index + 1} of {name} is {entry!r}")
                continue
            wrong = [
                key for key, kind in FIELDS[name].items() if not isinstance(entry.get(key), kind)
            ]
            for key in wrong:
                where = f"{SINGULAR[name]} {entry.get('id', f'no. {index + 1}')}"
                self.faults.add(WRONG, f"{key} of {where} is {entry.get(key, 'missing')!r}")
            if not wrong:
                sound.append(entry)
        if len({entry["id"] for entry in sound}) < len(sound):
            for identity, count in Counter(entry["id"] for entry in sound).items():
                if count > 1:
                    self.faults.add("duplicate id", f"{SINGULAR[name]} {identity}")
        return sound

    def _fault(self, entry: dict) -> tuple[str, str] | None:
        """Why an object is not learned, and where; decided in MMDetection's order."""
        where, image = f"annotation {entry['id']}", self.images.get(entry["image_id"])
        box, area = entry.get("bbox"), entry.get("area")
        if image is None:
            return "unknown image", f"{where} (image {entry['image_id']})"
        if entry["category_id"] in self.wanted:
            self.occupied.add(entry["image_id"])
        if entry.get("ignore"):
            return "ignored object", where
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(isinstance(i, NUMBER) for i in box)
        ):
            return WRONG, f"bbox of {where} is {box!r}"
        if not isinstance(area, NUMBER):
            return WRONG, f"area of {where} is {area!r}"
        (x, y, w, h), width, height = box, image["width"], image["height"]
        # Not the other way round: all comparisons with NaN are false.
        if not (w >= 1 and h >= 1 and area > 0):
            return "box without area", f"{where} of {image['file_name']}: {box}"
        if not (x < width and y < height and x + w > 0 and y + h > 0):
            return "box outside the image", f"{where} of {image['file_name']}: {box}"
        if entry["category_id"] not in self.known:
            return "unknown category", f"{where} (category {entry['category_id']})"
        if entry["category_id"] not in self.wanted:
            return "object of another class", where
        if x + w > FAR * width or y + h > FAR * height:
            self.faults.add("box far beyond its image", f"{where}: {box}")
        if self.poly2mask is not None:
            kind = mask_fault(entry.get("segmentation"), [height, width], self.poly2mask)
            if kind:
                return kind, where
        return ("crowd", where) if entry.get("iscrowd") else None


def mask_fault(mask: Any, size: list[int], poly2mask: bool) -> str | None:
    """Why a mask of an image of ``size`` (height, width) cannot be learned; None if it can."""
    if not mask:
        return "object without a mask"
    if isinstance(mask, list) and all(isinstance(one, list | dict | str) for one in mask):
        polygons = [one for one in mask if len(one) >= 6 and len(one) % 2 == 0]
        if not all(are_within(one, -FARTHEST, FARTHEST) for one in polygons):
            return UNREADABLE  # a point far away would fill all memory
        return None if polygons else "mask without area"
    counts = mask.get("counts") if isinstance(mask, dict) else 0
    if not isinstance(mask, dict) or not isinstance(counts, list | str | None):
        return UNREADABLE
    if not poly2mask or not counts or not mask.get("size"):
        return "mask without area"
    if mask["size"] != size:
        return "mask of another size"
    pixels = size[0] * size[1]
    if isinstance(counts, list) and not (are_within(counts, 0, pixels) and sum(counts) <= pixels):
        return UNREADABLE
    return None


def are_within(values: list, least: float, most: float) -> bool:
    """Whether values are numbers from ``least`` to ``most``."""
    try:
        return least <= min(values) and max(values) <= most and isfinite(sum(values))
    except TypeError:
        return False


def nothing_left(objects: Objects, filter_cfg: Mapping | None) -> tuple[str, bool]:
    """Why nothing is left to learn, or ``''``; and whether not even an image is left.

    Args:
        objects: The objects of a file that can be trained on.
        filter_cfg: The data set's, where it is for training.
    """
    least = (filter_cfg or {}).get("min_size", 0)
    least = least if isinstance(least, NUMBER) else 0  # MMDetection says that
    no_empty = (filter_cfg or {}).get("filter_empty_gt", False)
    images = objects.images.values()
    small = sum(min(one["width"], one["height"]) < least for one in images)
    empty = sum(one["id"] not in objects.occupied for one in images)
    has_image = any(
        min(one["width"], one["height"]) >= least
        and (one["id"] in objects.occupied or not no_empty)
        for one in images
    )
    if objects.left and has_image:
        return "", False
    reasons = list(objects.faults.lines(PASSED_OVER, DROPPED))
    if small:
        reasons.append(f"{small:,} of {len(images):,} images are below filter_cfg.min_size={least}")
    if empty and no_empty:
        reasons.append(f"filter_cfg.filter_empty_gt leaves out {empty:,} images without objects")
    cure = ""
    if objects.faults.count["box without area"] and not objects.left:
        cure = "\nAre the boxes shares of the image, from 0 to 1? They must be in pixels."
    return f"{'; '.join(reasons) or 'it has no annotations'}.{cure}", not has_image


def wrong_classes(path: Path, names: Sequence[str], classes: Sequence[str]) -> tuple[str, bool]:
    """How ``classes``, those of the config, differ from the ``names`` in the file, or ``''``.

    Some of them, in the order of the file, are enough: MMDetection leaves the others out. Returned
    with it: whether labels are wrong. They are right where the file lacks only the last classes.
    """
    if not names:
        return f"{path} has no categories", True
    lacking = [name for name in classes if name not in names]
    present = [name for name in names if name in classes]
    if present == list(classes):
        return "", False
    other_case = {name.casefold() for name in lacking} & {name.casefold() for name in names}
    if present and present == list(classes)[: len(present)] and not other_case:
        return f"{path} has no objects of {len(lacking)} classes: {shortened(lacking, 10)}", False
    differ = f"MMDetection numbers classes in the order of the file, {shortened(names, 10)}"
    if lacking:
        only = [name for name in names if name not in classes]
        differ = f"{len(lacking)} not in the file: {shortened(lacking, 10)}"
        differ += f"; {len(only)} only in the file: {shortened(only, 10)}" if only else ""
    quoted = shortened(list(map(repr, names)), 10)
    return (
        f"the classes are not those of {path}: {differ}.\nIf the file is right, write into "
        f"each data set: metainfo=dict(classes=[{quoted}]), and into each head: "
        f"num_classes={len(names)}"
    ), True
