"""Recognise the layout of somebody's own data; convert it and split it where that is needed.

MMDetection reads COCO's format, so Pascal VOC and YOLO are converted to it. MMPretrain reads lists
with one path and label per line.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import yaml
from PIL import Image

from .errors import UserError, shortened, user_error
from .images import SUFFIXES, image_files

SHARE = 0.2  # of the images are validated on, where the data has no split
PART = re.compile(r"(?:^|[^a-z])(train|val|test)(?:ing|id|idation)?(?![a-z])")
BESIDE = {"images", "labels", "jpegimages", "annotations"}  # folders beside one another
MALFORMED = (OSError, ValueError, LookupError, TypeError, AttributeError, SyntaxError)
MALFORMED += (yaml.YAMLError,)


class Item(NamedTuple):
    """An image: its part if the data says so, its name, and its label or its boxes as in COCO."""

    part: str
    name: str
    truth: Any


# What the reader of a layout returns: the folder where the names start, the classes in the order of
# their labels, the images, and the files that lack the image or the annotations they belong to.
Read = tuple[Path, list[str], list[Item], list[str]]


class OwnData(NamedTuple):
    """A data set as the packages read it: pairs are for training and for validation."""

    layout: str
    classes: list[str]
    size: tuple[int, int]  # width and height of the first image
    number: int  # of images to train on
    annotations: tuple[Path, Path]  # files in COCO's format, or lists
    images: tuple[Path, Path]  # the folders that the names in each start from
    split: str  # how the two were told apart
    alone: list[str]


def find_data(source: Path, made: Path, seed: int = 0) -> OwnData:
    """Recognise a data set.

    Args:
        source: A folder, a file in COCO's format, or a list of images with labels.
        made: The folder for what has to be made: converted annotations, lists of a split.
        seed: Of the split, where the data has none.

    Raises:
        UserError: If the source is of no known layout, or a file of it is malformed.
    """
    if not source.exists():
        raise UserError(f"--data {source}: there is no such folder or file")
    if source.is_file() and source.suffix != ".json":
        if source.suffix not in (".yaml", ".yml"):
            return write_parts("a list", image_list(source), made, seed)
        source = source.parent  # of YOLO
    while source.is_dir() and len(inside := [*source.glob("[!._]*")]) == 1 and inside[0].is_dir():
        source = inside[0]
    files = [path for path in sorted(source.rglob("*.xml")) if b"<annotation" in path.read_bytes()]
    if files:
        return write_parts("Pascal VOC", pascal_voc(source, files), made, seed)
    if files := sorted(source.rglob("labels/**/*.txt")):
        return write_parts("YOLO", yolo(source, files), made, seed)
    if contents := coco_files([source] if source.is_file() else sorted(source.rglob("*.json"))):
        return coco(source, contents, made, seed)
    if source.is_file():
        raise UserError(f"--data {source}: it lacks images, annotations or categories")
    return write_parts("a folder per class", class_folders(source), made, seed)


def write_parts(layout: str, read: Read, made: Path, seed: int) -> OwnData:
    """Write a file for each part; a test set serves where there is no validation set."""
    root, classes, items, alone = read
    if not classes:
        raise UserError(f"--data: {layout} without one object in {len(items)} images")
    train, val, test = ([one for one in items if one.part == p] for p in ("train", "val", "test"))
    val, how = val or test, "as the data has it"
    if not (train and val):
        if len(items) < 2:
            raise UserError(f"--data: {len(items)} image, must be 2 or more to be split")
        share = max(1, round(SHARE * len(items)))
        drawn = set(random.Random(seed).sample(range(len(items)), share))
        val = [items[index] for index in sorted(drawn)]
        train = [one for index, one in enumerate(items) if index not in drawn]
        how = f"{share} of {len(items)} images for validation, drawn with seed {seed}"
    boxes = isinstance(train[0].truth, list)
    suffix = "json" if boxes else "txt"
    files = (made / f"train.{suffix}", made / f"val.{suffix}")
    with user_error(str(made)):
        made.mkdir(parents=True, exist_ok=True)
        for file, part in zip(files, (train, val), strict=True):
            lines = (f"{one.name} {one.truth}\n" for one in part)
            file.write_text(as_coco(root, classes, part) if boxes else "".join(lines), "utf-8")
    size = image_size(root / train[0].name)
    return OwnData(layout, classes, size, len(train), files, (root, root), how, alone)


def as_coco(root: Path, classes: list[str], part: list[Item]) -> str:
    """A file in COCO's format."""
    images, annotations = [], []
    for number, one in enumerate(part):
        width, height = image_size(root / one.name)
        images.append({"id": number, "file_name": one.name, "width": width, "height": height})
        for box in one.truth:  # the evaluation takes a box with the id 0 for missed
            annotations.append({**box, "id": len(annotations) + 1, "image_id": number})
    categories = [{"id": label, "name": name} for label, name in enumerate(classes)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def coco_files(paths: list[Path]) -> dict[Path, dict]:
    """The contents of those files that are in COCO's format."""
    contents = {}
    for path in paths:
        with reading(path):
            content = json.loads(path.read_bytes())
        keys = ("images", "annotations", "categories")
        if isinstance(content, dict) and all(content.get(key) for key in keys):
            contents[path] = content
    return contents


def coco(source: Path, contents: dict[Path, dict], made: Path, seed: int) -> OwnData:
    """Files in COCO's format: one for each part, which stay, or one to split."""
    named = {part_of(path.stem): path for path in reversed(contents)}
    train, val = named.get("train"), named.get("val") or named.get("test")
    files = [train, val] if train and val else list(contents)
    if len(files) > 1 and not (train and val):
        names = shortened([path.relative_to(source) for path in files])
        raise UserError(f"--data {source}: which of {names}? Their names lack train and val")
    roots, content = [], contents[files[0]]
    for path in files:
        with reading(path):
            roots.append(image_folder(path, contents[path]["images"][0]["file_name"]))
    with reading(files[0]):
        classes = [one["name"] for one in content["categories"]]
        labels = {one["id"]: label for label, one in enumerate(content["categories"])}
        found: dict[int, list] = {one["id"]: [] for one in content["images"]}
        for one in content["annotations"]:
            found[one["image_id"]].append({**one, "category_id": labels[one["category_id"]]})
        items = [Item("", one["file_name"], found[one["id"]]) for one in content["images"]]
    if len(files) == 1:
        return write_parts("COCO", (roots[0], classes, items, []), made, seed)
    size, how = image_size(roots[0] / items[0].name), f"{files[0].name}, {files[1].name}"
    pairs = (files[0], files[1]), (roots[0], roots[1])
    return OwnData("COCO", classes, size, len(items), *pairs, how, [])


def image_folder(path: Path, name: str) -> Path:
    """The folder near an annotation file that has the image ``name``."""
    stem = path.stem.removeprefix("instances_").strip("._")
    subs = ("", stem, "images", f"images/{stem}", part_of(stem))
    folders = [folder / sub for folder in (path.parent, path.parent.parent) for sub in subs]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    tried = shortened(list(dict.fromkeys(folders)), 8)
    raise UserError(f"--data {path}: its first image, {name}, is in none of {tried}")


def boxed(
    root: Path, files: list[Path], read: Callable[[Path, Path], list[dict]], background: bool
) -> tuple[list[Item], list[str]]:
    """The images with the boxes that ``read`` finds for them; and the files that are alone.

    An image without a file is left out, unless it counts as ``background``.
    """
    images, notes = (
        {key_of(path.relative_to(root)): path for path in paths}
        for paths in (images_below(root), files)
    )
    items = []
    for key, image in images.items():
        boxes = []
        if key in notes:
            with reading(notes[key]):
                boxes = read(notes[key], image)
        if key in notes or background:
            name = image.relative_to(root)
            items.append(Item(part_of(name.parent), str(name), boxes))
    alone = notes.keys() - images.keys() if background else notes.keys() ^ images.keys()
    return items, sorted(map("/".join, alone))


def key_of(name: Path) -> tuple[str, ...]:
    """What the name of an image and that of its annotations have in common."""
    return tuple(word for word in name.with_suffix("").parts if word.lower() not in BESIDE)


def pascal_voc(root: Path, files: list[Path]) -> Read:
    """An XML file per image; the parts are lists in ``ImageSets/Main``, or folders."""
    parts = {}
    for part in ("test", "val", "train"):  # an image in two lists is trained on
        for path in root.rglob(f"ImageSets/Main/{part}.txt"):
            parts |= dict.fromkeys(path.read_text("utf-8").split(), part)
    items, alone = boxed(root, files, voc_boxes, background=False)
    items = [one._replace(part=parts.get(Path(one.name).stem, one.part)) for one in items]
    classes = sorted({box["category_id"] for one in items for box in one.truth})
    for box in (box for one in items for box in one.truth):
        box["category_id"] = classes.index(box["category_id"])
    return root, classes, items, alone


def voc_boxes(path: Path, image: Path) -> list[dict]:
    """The boxes in an XML file, with the names of their classes."""
    boxes = []
    for one in ElementTree.parse(path).iter("object"):
        sides = (one.findtext(f"bndbox/{s}", "nan") for s in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append(box_of(one.findtext("name", ""), *map(float, sides)))
        boxes[-1]["iscrowd"] = int(one.findtext("difficult") == "1")
    return boxes


def yolo(root: Path, files: list[Path]) -> Read:
    """A text file per image; the parts are folders that a YAML file names or their names tell."""
    settings: dict[str, Any] = {}
    for path in sorted(root.glob("*.y*ml"))[:1]:
        with reading(path):
            settings = dict(yaml.safe_load(path.read_bytes()))
    base = root / settings.get("path", "")
    named = {(base / str(settings.get(p))).resolve(): p for p in ("train", "val", "test")}
    items, alone = boxed(root, files, yolo_boxes, background=True)
    for index, one in enumerate(items):
        above = (root.resolve() / one.name).parents
        part = next((named[folder] for folder in above if folder in named), one.part)
        items[index] = one._replace(part=part)
    most = max((box["category_id"] for one in items for box in one.truth), default=0)
    names = settings.get("names", range(most + 1))
    names = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
    return root, [*map(str, names)], items, alone


def yolo_boxes(path: Path, image: Path) -> list[dict]:
    """A box or a polygon per line, in shares of the image, after its label."""
    boxes, (width, height) = [], image_size(image)
    for line in path.read_text("utf-8").splitlines():
        label, *numbers = map(float, line.split())
        if len(numbers) < 4 or len(numbers) % 2:
            raise ValueError(f"'{line}' is not a label and a box or polygon")
        if len(numbers) == 4:
            x, y, w, h = numbers
            numbers = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        xs, ys = [n * width for n in numbers[::2]], [n * height for n in numbers[1::2]]
        boxes.append(box_of(int(label), min(xs), min(ys), max(xs), max(ys)))
    return boxes


def box_of(label: int | str, left: float, top: float, right: float, bottom: float) -> dict:
    """A box as COCO has it."""
    width, height = right - left, bottom - top
    box = [left, top, width, height]
    return {"category_id": label, "bbox": box, "area": width * height, "iscrowd": 0}


def class_folders(source: Path) -> Read:
    """A folder of images for each class, below a folder for each part or directly."""
    named = {part_of(path.name): path for path in sorted(source.glob("*/"), reverse=True)}
    val = named.get("val") or named.get("test")
    parts = {"train": named["train"], "val": val} if val and "train" in named else {"": source}
    images = [
        (part, str(file.relative_to(source)), file.relative_to(folder).parts[0])
        for part, folder in parts.items()
        for file in images_below(folder)
        if file.parent != folder
    ]
    classes = sorted({name for *_, name in images})
    if len(classes) < 2:
        known = "COCO (.json), Pascal VOC (.xml) or YOLO (labels/*.txt)"
        wanted = "a folder of images for each of two classes or more"
        raise UserError(f"--data {source}: neither {known}, nor {wanted}")
    items = [Item(part, path, classes.index(name)) for part, path, name in images]
    return source, classes, items, []


def image_list(source: Path) -> Read:
    """A text with the path of an image, below the folder of the text, and its label per line."""
    items = []
    with reading(source):
        lines = source.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        path, _, label = line.strip().rpartition(" ")
        if line and not label.isdecimal():
            raise UserError(f"--data {source}, line {number}: not a path and a label from 0")
        items += [Item(part_of(Path(path).parent), path, int(label))] if line else []
    classes = [str(number) for number in range(max((one.truth for one in items), default=-1) + 1)]
    return source.parent, classes, items, []


def part_of(name: object) -> str:
    """The part of a data set that a name speaks of, or ``''``."""
    found = PART.search(str(name).lower())
    return found[1] if found else ""


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and those below it."""
    return [path for path in image_files(folder) if path.suffix.lower() in SUFFIXES]


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header of the file."""
    with reading(path), Image.open(path) as image:
        return image.size


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in the error that its contents cause; they can be wrong in any way."""
    try:
        yield
    except UserError:
        raise
    except MALFORMED as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"--data: {path} cannot be read: {reason}") from error
