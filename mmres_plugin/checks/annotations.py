"""Annotations in COCO's format, as MMDetection's ``CocoDataset`` reads them."""

import gc
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import shortened
from .faults import DROPPED, KINDS, STOPS, Faults

# Tuples: a million look-ups in a union take a second longer.
Number = (int, float)
Id = (int, str, float)
# What MMDetection looks up in each entry of a list, and the types that it takes.
KEYS: dict[str, dict[str, Any]] = {
    "images": {"id": Id, "file_name": str, "width": Number, "height": Number},
    "categories": {"id": Id, "name": str},
    "annotations": {"id": Id, "image_id": Id, "category_id": Id},
}
SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}
FAR = 1.1  # a box that reaches further than this, in sizes of its image, may be x1, y1, x2, y2


class Masks(NamedTuple):
    """How a pipeline loads masks: ``poly2mask`` of MMDetection's ``LoadAnnotations``."""

    poly2mask: bool


class Objects:
    """The faults of an annotation file, and what is left of its objects.

    Args:
        content: What the file holds.
        classes: Names of the classes to learn; the others are left out.
        masks: How the pipeline loads masks; None if it loads none.

    Attributes:
        faults: What is wrong with the file.
        passed_over: Objects that are no fault and yet not learned, by the reason.
        left: How many objects are left.
        total: How many objects there are.
        images: The images by their ids.
        occupied: Ids of the images with an object of ``classes``.
    """

    def __init__(self, content: Any, classes: Sequence[str], masks: Masks | None = None) -> None:
        self.faults, self.passed_over = Faults(), Counter[str]()
        self.left = self.total = 0
        self.images: dict[Any, dict] = {}
        self.occupied: set = set()
        self._masks = masks
        if not isinstance(content, dict):
            self.faults.add("not in the format", f"the file is a {type(content).__name__}")
            return
        content = {"annotations": [], **content}  # of pictures to test on there are none
        lists = {name: content.get(name) for name in KEYS}
        for name, entries in lists.items():
            if not isinstance(entries, list):
                self.faults.add("missing key", f"{name} of the file")
                return
        self._read_lists(lists)
        known = {one["id"]: one["name"] for one in lists["categories"] if _has_keys(one)}
        self._known, self._wanted = set(known), {i for i, name in known.items() if name in classes}
        for index, entry in enumerate(lists["annotations"]):
            if self._is_sound(entry):
                self.left += 1
                self.occupied.add(entry["image_id"])
            else:
                self._judge(entry, index)
        self.total = len(lists["annotations"])

    def _read_lists(self, lists: dict[str, list]) -> None:
        """Look at images and categories, and for ids that occur twice."""
        for name in ("images", "categories"):
            for index, entry in enumerate(lists[name]):
                self._keys_are_right(name, entry, index)
        names = Counter(one.get("name") for one in lists["categories"] if isinstance(one, dict))
        for name, count in names.items():
            if count > 1:
                self.faults.add("duplicate category name", f"{name!r}")
        for image in lists["images"]:
            if isinstance(image, dict) and isinstance(image.get("id"), Id):
                self.images.setdefault(image["id"], image)
        for name, entries in lists.items():
            ids = [entry.get("id") for entry in entries if isinstance(entry, dict)]
            ids = [identity for identity in ids if isinstance(identity, Id)]
            if len(set(ids)) < len(ids):
                for identity, count in Counter(ids).items():
                    if count > 1:
                        self.faults.add("duplicate id", f"{SINGULAR[name]} {identity}")

    def _keys_are_right(self, name: str, entry: Any, index: int) -> bool:
        """Whether an entry of a list has the keys of :data:`KEYS`, with values of their types."""
        if not isinstance(entry, dict):
            self.faults.add("wrong type", f"entry {index + 1} of {name}: {entry!r}")
            return False
        where = f"{SINGULAR[name]} {entry['id'] if 'id' in entry else f'no. {index + 1}'}"
        right = True
        for key, kind in KEYS[name].items():
            if not isinstance(entry.get(key), kind):
                right = False
                if key in entry:
                    self.faults.add("wrong type", f"{key} of {where}: {entry[key]!r}")
                else:
                    self.faults.add("missing key", f"{key} of {where}")
        return right

    def _is_sound(self, entry: Any) -> bool:
        """Whether an annotation is surely learned; quick, because nearly all of them are."""
        try:
            x, y, w, h = entry["bbox"]
            image = self.images[entry["image_id"]]
            return (
                "id" in entry
                and entry["category_id"] in self._wanted
                and 1 <= w < inf
                and 1 <= h < inf
                and entry["area"] > 0
                and -w < x < image["width"]
                and -h < y < image["height"]
                and x + w <= FAR * image["width"]
                and y + h <= FAR * image["height"]
                and not entry.get("iscrowd")
                and not entry.get("ignore")
                and (self._masks is None or _is_polygon(entry["segmentation"][0]))
            )
        except (KeyError, TypeError, ValueError, IndexError):
            return False

    def _judge(self, entry: Any, index: int) -> None:
        """Say what becomes of an annotation, in the order in which MMDetection decides."""
        if not self._keys_are_right("annotations", entry, index):
            return
        where, image = f"annotation {entry['id']}", self.images.get(entry["image_id"])
        if image is None:
            self.faults.add("unknown image", f"{where} (image {entry['image_id']})")
            return
        if entry["category_id"] in self._wanted:
            self.occupied.add(entry["image_id"])
        if entry.get("ignore"):
            self.passed_over["ignored"] += 1
            return
        size = image.get("width", ""), image.get("height", "")
        if not all(isinstance(side, Number) for side in size):
            return  # a fault of the image
        kind, what = _box_fault(entry, *size)
        if kind:
            self.faults.add(kind, what or f"{where}: {entry['bbox']}")
            if KINDS[kind] in (STOPS, DROPPED):
                return
        if entry["category_id"] not in self._known:
            self.faults.add("unknown category", f"{where} (category {entry['category_id']})")
        elif entry["category_id"] not in self._wanted:
            self.passed_over["of other classes"] += 1
        elif self._masks is not None and self._mask_is_lost(entry, where, size):
            pass
        elif entry.get("iscrowd"):
            self.passed_over["crowds"] += 1
        else:
            self.left += 1

    def _mask_is_lost(self, entry: dict, where: str, size: tuple) -> bool:
        """Whether the mask of an annotation stops a training, or loses the object."""
        mask = entry.get("segmentation")
        if not mask:
            self.faults.add("object without a mask", where)
        elif isinstance(mask, list):
            if not all(isinstance(polygon, list) for polygon in mask):
                self.faults.add("wrong type", f"segmentation of {where}: a list of polygons is due")
            elif any(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in mask):
                return False
            else:
                self.faults.add("mask without area", where)
        elif self._masks is not None and not self._masks.poly2mask:
            self.faults.add("mask without area", f"{where} (poly2mask=False takes polygons alone)")
        elif not isinstance(mask, dict):
            self.faults.add("wrong type", f"segmentation of {where}: {mask!r}")
        elif not mask.get("counts") or not mask.get("size"):
            self.faults.add("mask without area", where)
        elif list(mask["size"]) != [size[1], size[0]]:
            sizes = f"{mask['size']}, its image {[size[1], size[0]]}"
            self.faults.add("mask of another size", f"{where} is {sizes} (height, width)")
        else:
            return False
        return True


def _is_polygon(value: Any) -> bool:
    """Whether the first part of a mask is a polygon with an area."""
    return isinstance(value, list) and len(value) >= 6 and len(value) % 2 == 0


def _has_keys(category: Any) -> bool:
    """Whether a category has a name and an id."""
    return (
        isinstance(category, dict)
        and isinstance(category.get("id"), Id)
        and isinstance(category.get("name"), str)
    )


def _box_fault(entry: dict, width: float, height: float) -> tuple[str, str]:
    """The kind of fault that the box of an annotation has, and what is at fault if not the box."""
    box, area, where = entry.get("bbox"), entry.get("area"), f"annotation {entry['id']}"
    if "bbox" not in entry:
        return "missing key", f"bbox of {where}"
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(i, Number) for i in box):
        return "wrong type", f"bbox of {where}: {box!r}"
    x, y, w, h = box
    if isnan(w) or isnan(h) or not isfinite(x) or not isfinite(y):
        return "box is not finite", ""
    if w <= 0 or h <= 0:
        return "box without area", ""
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return "box outside the image", ""
    if "area" not in entry:
        return "missing key", f"area of {where}"
    if not isinstance(area, Number):
        return "wrong type", f"area of {where}: {area!r}"
    if w < 1 or h < 1 or area <= 0:
        return "box without area", ""
    if inf in (w, h):
        return "box without end", ""
    far = x + w > FAR * width or y + h > FAR * height
    return "box far beyond its image" if far else "", ""


def read_json(path: Path) -> Any:
    """The content of a JSON file, read as pycocotools does.

    Raises:
        ValueError: It is no JSON, or in an encoding that pycocotools does not read.
    """
    searching = gc.isenabled()
    gc.disable()  # the search for cycles takes a third of the time, and there are none
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error}): save it as UTF-8") from error
    except ValueError as error:
        hint = ": save it without the byte order mark" if "BOM" in str(error) else ""
        raise ValueError(f"{error}{hint}") from error
    finally:
        if searching:
            gc.enable()


def nothing_left(objects: Objects, filter_cfg: Mapping | None, of_file: str) -> tuple[str, bool]:
    """Why nothing is left to learn, or ``''``; and whether not even an image is left.

    Args:
        objects: The objects of the file.
        filter_cfg: The data set's, where it is for training.
        of_file: What the file is called in the message.
    """
    filter_cfg = filter_cfg or {}
    least = filter_cfg.get("min_size", 0)
    images = [one for one in objects.images.values() if isinstance(one.get("width"), Number)]
    small = sum(min(one["width"], one.get("height", 0)) < least for one in images)
    empty = sum(one["id"] not in objects.occupied for one in images)
    dropped = {
        one["id"]
        for one in images
        if min(one["width"], one.get("height", 0)) < least
        or (filter_cfg.get("filter_empty_gt") and one["id"] not in objects.occupied)
    }
    no_image = len(dropped) == len(images)
    if objects.left and not no_image:
        return "", False
    reasons = [f"{count:,} objects are {kind}" for kind, count in objects.passed_over.items()]
    reasons += objects.faults.lines(DROPPED)
    if small:
        reasons.append(f"{small:,} of {len(images):,} images are below filter_cfg.min_size={least}")
    if empty and filter_cfg.get("filter_empty_gt"):
        reasons.append(f"filter_cfg.filter_empty_gt leaves out {empty:,} images without objects")
    cure = ""
    if objects.faults.count["box without area"] and not objects.left:
        cure = "\nAre the boxes shares of the image, from 0 to 1? They must be in pixels."
    why = "; ".join(reasons) or "it has no annotations"
    return f"nothing is left to learn of {of_file}: {why}.{cure}", no_image


def wrong_classes(path: Path, names: Sequence[str], classes: Sequence[str]) -> tuple[str, bool]:
    """How ``classes``, those of the config, differ from the ``names`` in the file, or ``''``.

    Some of them, in the order of the file, are enough: MMDetection leaves the others out. Returned
    with it: whether labels are wrong. They are right where the file lacks only the last classes.
    """
    lacking = [name for name in classes if name not in names]
    present = [name for name in names if name in classes]
    if present == list(classes):
        return "", False
    other_case = {name.casefold() for name in lacking} & {name.casefold() for name in names}
    if present and present == list(classes)[: len(present)] and not other_case:
        return f"{path} has no objects of {len(lacking)} classes: {shortened(lacking, 10)}", False
    differ = f"MMDetection numbers classes in the order of the file, {shortened(names, 10)}"
    if lacking:
        differ = f"{len(lacking)} not in the file: {shortened(lacking, 10)}"
        only = [name for name in names if name not in classes]
        if only:
            differ += f"; {len(only)} only in the file: {shortened(only, 10)}"
    quoted = shortened(list(map(repr, names)), 10)
    return (
        f"the classes are not those of {path}: {differ}.\nIf the file is right, write into "
        f"each data set: metainfo=dict(classes=[{quoted}]), and into each head: "
        f"num_classes={len(names)}"
    ), True
