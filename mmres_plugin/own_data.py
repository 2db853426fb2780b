"""Recognise the layout of somebody's own data; convert it and split it where that is needed.

MMDetection reads COCO's format, so Pascal VOC and YOLO are converted to it. MMPretrain reads a
folder per class, or lists with one path and label per line.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import yaml
from PIL import Image

from .errors import UserError, shortened
from .images import SUFFIXES, image_files

SHARE = 0.2  # of the images are validated on, where the data has no split
# Parts of a data set, by words in the names of files and folders. A test set serves for validation
# where there is no validation set.
PARTS = ("train", "val", "test")


class Part(NamedTuple):
    """What a training learns from, or what it is validated on.

    Attributes:
        annotations: A file in COCO's format, a list, or None for a folder per class.
        images: The folder that the names in ``annotations`` start from.
    """

    annotations: Path | None
    images: Path


class OwnData(NamedTuple):
    """A data set.

    Attributes:
        layout: What it looks like, in words.
        classes: Names of the classes, in the order of their labels.
        size: Width and height of the first image.
        images: How many images are trained on.
        train: What is trained on.
        val: What is validated on.
        split: How the two were told apart, in words.
    """

    layout: str
    classes: list[str]
    size: tuple[int, int]
    images: int
    train: Part
    val: Part
    split: str

    @property
    def detection(self) -> bool:
        """Whether there are boxes to learn; else each image has one class."""
        return self.train.annotations is not None and self.train.annotations.suffix == ".json"


def find_data(source: Path, made: Path, seed: int = 0) -> OwnData:
    """Recognise a data set.

    Args:
        source: A folder, a file in COCO's format, or a list of images with labels.
        made: The folder for what has to be made: converted annotations, lists of a split.
        seed: Of the split, where the data has none.

    Raises:
        UserError: If the source is of no known layout.
    """
    if not source.exists():
        raise UserError([f"--data {source}: there is no such folder or file"])
    if source.is_file() and source.suffix != ".json":
        return listed(source, made, seed)
    roots = [source, *source.glob("*/")]
    if root := next((at for at in roots if any(at.glob("Annotations/*.xml"))), None):
        return write_coco("Pascal VOC", *pascal_voc(root), made, seed)
    if any(path for at in roots for path in at.glob("labels/**/*.txt")):
        return write_coco("YOLO", *yolo(source), made, seed)
    files = [source] if source.is_file() else sorted(source.rglob("*.json"))
    return coco(files, made, seed) if files else class_folders(source, made, seed)


def part_of(name: object) -> str:
    """The first of ``PARTS`` that stands in a name, or ``''``."""
    return next((part for part in PARTS if part in str(name).lower()), "")


def train_and_val(named: dict[str, Any]) -> tuple[Any, Any] | None:
    """What is named as one to train on and one to validate on, if both are there."""
    val = named.get("val") or named.get("test")
    return (named["train"], val) if val and named.get("train") else None


def divide(items: list, part: Callable[[Any], str], seed: int) -> tuple[list, list, str]:
    """Items to train on, items to validate on, and how they were told apart."""
    named = {name: [item for item in items if part(item) == name] for name in PARTS}
    if found := train_and_val(named):
        return *found, "as the data has it"
    if len(items) < 2:
        raise UserError([f"--data: {len(items)} image, must be 2 or more to be split"])
    drawn = set(random.Random(seed).sample(range(len(items)), max(1, round(SHARE * len(items)))))
    train = [item for index, item in enumerate(items) if index not in drawn]
    val = [item for index, item in enumerate(items) if index in drawn]
    return train, val, f"{len(val)} of {len(items)} images for validation, drawn with seed {seed}"


def coco(files: list[Path], made: Path, seed: int) -> OwnData:
    """Files in COCO's format: one for each part, or one to split."""
    contents = {path: json.loads(path.read_bytes()) for path in files}
    keys = {"images", "annotations", "categories"}
    contents = {p: c for p, c in contents.items() if isinstance(c, dict) and c.keys() >= keys}
    if not contents:
        raise UserError([f"--data: not in COCO's format: {shortened(files)}"])
    found = train_and_val({part_of(path.stem): path for path in reversed(contents)})
    path = found[0] if found else next(iter(contents))
    content = contents[path]
    if not found:
        return write_coco("COCO", content, image_folder(path, content), str, made, seed)
    parts = [Part(one, image_folder(one, contents[one])) for one in found]
    return describe("COCO", content, parts, f"{found[0].name} and {found[1].name}")


def describe(layout: str, content: dict, parts: Sequence[Part], how: str) -> OwnData:
    """A data set whose training part has this content in COCO's format."""
    first, classes = content["images"][0], [one["name"] for one in content["categories"]]
    size = (first["width"], first["height"])
    return OwnData(layout, classes, size, len(content["images"]), parts[0], parts[1], how)


def image_folder(path: Path, content: dict) -> Path:
    """The folder near an annotation file that has its first image."""
    name, stem = content["images"][0]["file_name"], path.stem.removeprefix("instances_").strip("._")
    subs = ("", stem, "images", f"images/{stem}", part_of(stem))
    folders = [at / sub for at in (path.parent, path.parent.parent) for sub in subs]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    tried = shortened(list(dict.fromkeys(folders)), 8)
    raise UserError([f"--data {path}: its first image, {name}, is in none of {tried}"])


def write_coco(
    layout: str, content: dict, images: Path, part: Callable[[str], str], made: Path, seed: int
) -> OwnData:
    """Write ``train.json`` and ``val.json``; ``part`` tells the part by the name of an image."""
    *parts, how = divide(content["images"], lambda image: part(image["file_name"]), seed)
    made.mkdir(parents=True, exist_ok=True)
    for name, chosen in zip(PARTS, parts, strict=False):
        ids = {image["id"] for image in chosen}
        kept = [one for one in content["annotations"] if one["image_id"] in ids]
        text = json.dumps({**content, "images": chosen, "annotations": kept})
        (made / f"{name}.json").write_text(text)
    both = [Part(made / f"{name}.json", images) for name in PARTS[:2]]
    return describe(layout, {**content, "images": parts[0]}, both, how)


def to_coco(boxes: dict[Path, list], folder: Path, names: list) -> dict:
    """COCO's content from the boxes of each image: label, x, y, width, height, whether ignored."""
    images, annotations = [], []
    for file, found in boxes.items():
        width, height = image_size(file)
        name = str(file.relative_to(folder))
        images.append({"id": len(images), "file_name": name, "width": width, "height": height})
        for label, *box, ignored in found:
            one = {"id": len(annotations), "image_id": len(images) - 1, "category_id": label}
            annotations.append(one | {"bbox": box, "area": box[2] * box[3], "iscrowd": ignored})
    categories = [{"id": label, "name": str(name)} for label, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def pascal_voc(root: Path) -> tuple[dict, Path, Callable[[str], str]]:
    """``Annotations`` with an XML file per image; the parts are lists in ``ImageSets/Main``."""
    folder = root / "JPEGImages"
    files = {path.stem: path for path in folder.iterdir()}
    objects = {
        files[path.stem]: list(ElementTree.parse(path).iter("object"))
        for path in sorted(root.glob("Annotations/*.xml"))
        if path.stem in files
    }
    names = sorted({one.findtext("name", "") for found in objects.values() for one in found})
    boxes: dict[Path, list] = {}
    for file, found in objects.items():
        boxes[file] = []
        for one in found:
            sides = (one.findtext(f"bndbox/{s}", "nan") for s in ("xmin", "ymin", "xmax", "ymax"))
            left, top, right, bottom = map(float, sides)
            label, hard = names.index(one.findtext("name", "")), int(one.findtext("difficult", "0"))
            boxes[file].append((label, left, top, right - left, bottom - top, hard))
    parts = {}
    for part in reversed(PARTS):  # an image in two lists is trained on
        path = root / f"ImageSets/Main/{part}.txt"
        parts |= dict.fromkeys(path.read_text().split() if path.is_file() else (), part)
    return to_coco(boxes, folder, names), folder, lambda name: parts.get(Path(name).stem, "")


def yolo(root: Path) -> tuple[dict, Path, Callable[[str], str]]:
    """``labels/…/x.txt`` for ``images/…/x.jpg``: label, then a box or polygon in shares."""
    boxes: dict[Path, list] = {}
    for file in images_in(root):
        words = ("labels" if word == "images" else word for word in file.relative_to(root).parts)
        path, (width, height) = root.joinpath(*words).with_suffix(".txt"), image_size(file)
        boxes[file] = []
        for line in path.read_text().splitlines() if path.is_file() else ():
            label, *numbers = map(float, line.split())
            if len(numbers) == 4:
                x, y, w, h = numbers
                numbers = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            left, right = (side(numbers[::2]) * width for side in (min, max))
            top, bottom = (side(numbers[1::2]) * height for side in (min, max))
            boxes[file].append((int(label), left, top, right - left, bottom - top, 0))
    settings = next(iter(sorted(root.glob("*.y*ml"))), None)
    names = yaml.safe_load(settings.read_text())["names"] if settings else None
    names = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
    most = max((one[0] for found in boxes.values() for one in found), default=0)
    content = to_coco(boxes, root, names or list(range(most + 1)))
    return content, root, lambda name: part_of(Path(name).parent)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header of the file."""
    with Image.open(path) as image:
        return image.size


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and those below it."""
    return [path for path in image_files(folder) if path.suffix.lower() in SUFFIXES]


def class_folders(source: Path, made: Path, seed: int) -> OwnData:
    """A folder of images for each class, below a folder for each part or directly."""
    folders = [path for path in sorted(source.iterdir()) if path.is_dir() and images_in(path)]
    if found := train_and_val({part_of(path.name): path for path in folders}):
        classes = [path.name for path in sorted(found[0].iterdir()) if path.is_dir()]
        files = images_in(found[0])
        parts, how = [Part(None, path) for path in found], f"{found[0].name}/ and {found[1].name}/"
        size = image_size(files[0])
        return OwnData("a folder per class", classes, size, len(files), parts[0], parts[1], how)
    if len(folders) < 2:
        known = "COCO (.json), Pascal VOC (Annotations/*.xml) or YOLO (labels/*.txt)"
        classes = "a folder of images for each of two classes or more"
        raise UserError([f"--data {source}: neither {known}, nor {classes}"])
    names = [folder.name for folder in folders]
    rows = [(file.relative_to(source), n) for n, at in enumerate(folders) for file in images_in(at)]
    return write_lists("a folder per class", names, rows, source, made, seed)


def listed(source: Path, made: Path, seed: int) -> OwnData:
    """A text with the path of an image, below the folder of the text, and its label per line."""
    rows = [tuple(line.rsplit(maxsplit=1)) for line in source.read_text().splitlines() if line]
    wrong = [n for n, row in enumerate(rows, 1) if len(row) != 2 or not row[1].isdecimal()]
    if wrong:
        raise UserError([f"--data {source}, line {wrong[0]}: not a path and a label from 0"])
    classes = [str(label) for label in range(max(int(row[1]) for row in rows) + 1)]
    return write_lists("a list", classes, rows, source.parent, made, seed)


def write_lists(
    layout: str, classes: list[str], rows: list[tuple], root: Path, made: Path, seed: int
) -> OwnData:
    """Write ``train.txt`` and ``val.txt`` from rows of path and label."""
    *parts, how = divide(rows, lambda row: part_of(Path(row[0]).parent), seed)
    made.mkdir(parents=True, exist_ok=True)
    for name, part in zip(PARTS, parts, strict=False):
        (made / f"{name}.txt").write_text("".join(f"{path} {label}\n" for path, label in part))
    both = [Part(made / f"{name}.txt", root) for name in PARTS[:2]]
    size = image_size(root / rows[0][0])
    return OwnData(layout, classes, size, len(parts[0]), both[0], both[1], how)
