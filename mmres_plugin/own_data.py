"""Recognise the layout of somebody's own data; convert it and split it where that is needed.

MMDetection reads COCO's format, so Pascal VOC and YOLO are converted to it. MMPretrain reads lists
with one path and label per line. A reader returns the folder that names of files start from, the
names of the classes, and for each image: its part if the data says so, its name, and its label or
its annotations as COCO has them, whose ``category_id`` is the position of the class.
"""

import json
import random
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import yaml
from PIL import Image

from .errors import UserError, shortened
from .images import SUFFIXES, image_files

SHARE = 0.2  # of the images are validated on, where the data has no split
Read = tuple[Path, list[str], list[tuple[str, str, Any]]]


class OwnData(NamedTuple):
    """A data set.

    Attributes:
        layout: What it looks like, in words.
        classes: Names of the classes, in the order of their labels.
        size: Width and height of the first image.
        number: How many images are trained on.
        annotations: What is trained on and what is validated on: files in COCO's format, or lists.
        images: The folders that the names in each of the two start from.
        split: How the two were told apart, in words.
    """

    layout: str
    classes: list[str]
    size: tuple[int, int]
    number: int
    annotations: tuple[Path, Path]
    images: tuple[Path, Path]
    split: str


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
    folders = [source, *source.glob("*/")]
    files = [source] if source.suffix == ".json" else sorted(source.rglob("*.json"))
    if root := next((path for path in folders if any(path.glob("Annotations/*.xml"))), None):
        return write("Pascal VOC", pascal_voc(root), made, seed)
    if any(path for folder in folders for path in folder.glob("labels/**/*.txt")):
        return write("YOLO", yolo(source), made, seed)
    if files:
        return coco(files, made, seed)
    if source.is_file():
        return write("a list", listed(source), made, seed)
    return write("a folder per class", class_folders(source), made, seed)


def write(layout: str, read: Read, made: Path, seed: int) -> OwnData:
    """Write a file for each part; a test set serves where there is no validation set."""
    root, classes, images = read
    train, val, test = ([one for one in images if one[0] == p] for p in ("train", "val", "test"))
    val, how = val or test, "as the data has it"
    if not (train and val):
        if len(images) < 2:
            raise UserError([f"--data: {len(images)} image, must be 2 or more to be split"])
        share = max(1, round(SHARE * len(images)))
        drawn = set(random.Random(seed).sample(range(len(images)), share))
        val = [images[index] for index in sorted(drawn)]
        train = [one for index, one in enumerate(images) if index not in drawn]
        how = f"{share} of {len(images)} images for validation, drawn with seed {seed}"
    made.mkdir(parents=True, exist_ok=True)
    boxes = isinstance(train[0][2], list)
    suffix = "json" if boxes else "txt"
    files = (made / f"train.{suffix}", made / f"val.{suffix}")
    for file, part in zip(files, (train, val), strict=True):
        lines = (f"{name} {label}\n" for _, name, label in part)
        file.write_text(as_coco(root, classes, part) if boxes else "".join(lines))
    size = image_size(root / train[0][1])
    return OwnData(layout, classes, size, len(train), files, (root, root), how)


def as_coco(root: Path, classes: list[str], part: list[tuple[str, str, Any]]) -> str:
    """A file in COCO's format."""
    images, annotations = [], []
    for number, (_, name, found) in enumerate(part):
        width, height = image_size(root / name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for one in found:
            annotations.append({**one, "id": len(annotations), "image_id": number})
    categories = [{"id": label, "name": name} for label, name in enumerate(classes)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def coco(files: list[Path], made: Path, seed: int) -> OwnData:
    """Files in COCO's format: one for each part, which stay, or one to split."""
    contents = {path: json.loads(path.read_bytes()) for path in files}
    keys = {"images", "annotations", "categories"}
    contents = {p: c for p, c in contents.items() if isinstance(c, dict) and c.keys() >= keys}
    if not contents:
        raise UserError([f"--data: not in COCO's format: {shortened(files)}"])
    named = {part_of(path.stem): path for path in reversed(contents)}
    train, val = named.get("train", next(iter(contents))), named.get("val") or named.get("test")
    content = contents[train]
    root, classes = image_folder(train, content), [one["name"] for one in content["categories"]]
    if "train" in named and val:
        roots = (root, image_folder(val, contents[val]))
        size, how = (
            image_size(root / content["images"][0]["file_name"]),
            f"{train.name}, {val.name}",
        )
        return OwnData("COCO", classes, size, len(content["images"]), (train, val), roots, how)
    labels = {one["id"]: label for label, one in enumerate(content["categories"])}
    found: dict[int, list] = {image["id"]: [] for image in content["images"]}
    for one in content["annotations"]:
        found[one["image_id"]].append({**one, "category_id": labels[one["category_id"]]})
    images = [("", image["file_name"], found[image["id"]]) for image in content["images"]]
    return write("COCO", (root, classes, images), made, seed)


def image_folder(path: Path, content: dict) -> Path:
    """The folder near an annotation file that has its first image."""
    name, stem = content["images"][0]["file_name"], path.stem.removeprefix("instances_").strip("._")
    subs = ("", stem, "images", f"images/{stem}", part_of(stem))
    folders = [folder / sub for folder in (path.parent, path.parent.parent) for sub in subs]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    tried = shortened(list(dict.fromkeys(folders)), 8)
    raise UserError([f"--data {path}: its first image, {name}, is in none of {tried}"])


def pascal_voc(root: Path) -> Read:
    """``Annotations`` with an XML file per image; the parts are lists in ``ImageSets/Main``."""
    files = {path.stem: path.name for path in (root / "JPEGImages").iterdir()}
    parts = {}
    for part in ("test", "val", "train"):  # an image in two lists is trained on
        path = root / f"ImageSets/Main/{part}.txt"
        parts |= dict.fromkeys(path.read_text().split() if path.is_file() else (), part)
    objects = {
        path.stem: list(ElementTree.parse(path).iter("object"))
        for path in sorted(root.glob("Annotations/*.xml"))
        if path.stem in files
    }
    classes = sorted({one.findtext("name", "") for found in objects.values() for one in found})
    images = []
    for stem, found in objects.items():
        boxes = []
        for one in found:
            sides = (one.findtext(f"bndbox/{s}", "nan") for s in ("xmin", "ymin", "xmax", "ymax"))
            label, hard = classes.index(one.findtext("name", "")), one.findtext("difficult", "0")
            boxes.append(annotation(label, *map(float, sides), ignored=int(hard)))
        images.append((parts.get(stem, ""), files[stem], boxes))
    return root / "JPEGImages", classes, images


def yolo(root: Path) -> Read:
    """``labels/…/x.txt`` for ``images/…/x.jpg``: label, then a box or polygon in shares."""
    images, most = [], 0
    for file in images_in(root):
        name = file.relative_to(root)
        words = ("labels" if word == "images" else word for word in name.parts)
        path, (width, height) = root.joinpath(*words).with_suffix(".txt"), image_size(file)
        boxes = []
        for line in path.read_text().splitlines() if path.is_file() else ():
            label, *numbers = map(float, line.split())
            if len(numbers) == 4:
                x, y, w, h = numbers
                numbers = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            (left, right), (top, bottom) = ((min(n), max(n)) for n in (numbers[::2], numbers[1::2]))
            sides = (left * width, top * height, right * width, bottom * height)
            boxes.append(annotation(int(label), *sides))
            most = max(most, int(label))
        images.append((part_of(name.parent), str(name), boxes))
    settings = next(iter(sorted(root.glob("*.y*ml"))), None)
    names = yaml.safe_load(settings.read_text())["names"] if settings else range(most + 1)
    names = [names[key] for key in sorted(names)] if isinstance(names, dict) else names
    return root, [*map(str, names)], images


def annotation(
    label: int, left: float, top: float, right: float, bottom: float, ignored: int = 0
) -> dict:
    """A box as COCO has it."""
    width, height = right - left, bottom - top
    box = [left, top, width, height]
    return {"category_id": label, "bbox": box, "area": width * height, "iscrowd": ignored}


def class_folders(source: Path) -> Read:
    """A folder of images for each class, below a folder for each part or directly."""
    named = {part_of(path.name): path for path in sorted(source.glob("*/"), reverse=True)}
    val = named.get("val") or named.get("test")
    parts = {"train": named["train"], "val": val} if val and "train" in named else {"": source}
    images = [
        (part, str(file.relative_to(source)), file.relative_to(folder).parts[0])
        for part, folder in parts.items()
        for file in images_in(folder)
        if file.parent != folder
    ]
    classes = sorted({name for *_, name in images})
    if len(classes) < 2:
        known = "COCO (.json), Pascal VOC (Annotations/*.xml) or YOLO (labels/*.txt)"
        wanted = "a folder of images for each of two classes or more"
        raise UserError([f"--data {source}: neither {known}, nor {wanted}"])
    return source, classes, [(part, path, classes.index(name)) for part, path, name in images]


def listed(source: Path) -> Read:
    """A text with the path of an image, below the folder of the text, and its label per line."""
    images = []
    for number, line in enumerate(source.read_text().splitlines(), 1):
        path, _, label = line.strip().rpartition(" ")
        if line and not label.isdecimal():
            raise UserError([f"--data {source}, line {number}: not a path and a label from 0"])
        images += [(part_of(Path(path).parent), path, int(label))] if line else []
    return source.parent, [str(n) for n in range(max(one[2] for one in images) + 1)], images


def part_of(name: object) -> str:
    """The part of a data set that a name speaks of, or ``''``."""
    return next((part for part in ("train", "val", "test") if part in str(name).lower()), "")


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and those below it."""
    return [path for path in image_files(folder) if path.suffix.lower() in SUFFIXES]


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header of the file."""
    with Image.open(path) as image:
        return image.size
