"""What the data sets of a config hold; a run and ``mmres check`` read them with this."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..config_parts import as_list, classes_of, datasets, look_up, scope_of, step_of
from ..errors import shortened
from ..images import SUFFIXES, Loader, loader_of
from .annotations import ID, Objects, nothing_left, wrong_classes
from .data import dataset_paths, local
from .faults import CHANGES, DROPPED, STOPS, Faults, Remark
from .folders import folder_images, images_in, listed_images

# Owners of ``load_data_list`` whose formats are read here.
COCO, FOLDERS = "CocoDataset", "CustomDataset"
MANY = 0.1  # a share of the boxes far beyond their images that is worth a remark
HINT = "`mmres check CONFIG` lists all"


@dataclass
class DataSet:
    """A data set of the config, and what it holds once :func:`read_data` has read it.

    Attributes:
        key: Where it stands in the config.
        settings: Its config.
        kind: Its class; None for an unknown type.
        reader: The class whose format it has, if it is read here.
        file: Its annotations or list of images, if it has one.
        folder: What the paths of its images start from.
        classes: Names of its classes, if the config or its class says them.
        loader: How it reads images, if that is known.
        objects: The step of its pipeline that loads boxes and masks.
        is_read: Whether the following is known.
        names: Names of the classes in the order in which the data numbers them.
        faults: The faults of its annotations.
        images: Its images, with the width and height that their annotations give or None.
        ids: File names of the images by their ids, in COCO's format.
        labels: The images of each label, in folders and lists.
        raw: What the annotation file holds.
        problems: Errors and remarks about it, for a run.
    """

    key: str
    settings: Mapping
    kind: type | None = None
    reader: str = ""
    file: Path | None = None
    folder: Path | None = None
    classes: list[str] | None = None
    loader: Loader | None = None
    objects: Mapping | None = None
    is_read: bool = False
    names: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    images: list[tuple[Path, tuple[int, int] | None]] = field(default_factory=list)
    ids: dict[Any, str] = field(default_factory=dict)
    labels: dict[Any, list[Path]] = field(default_factory=dict)
    raw: Any = None
    problems: list[str] = field(default_factory=list)

    @property
    def loop(self) -> str:
        """The loop that it is for: ``'train'``, ``'val'`` or ``'test'``."""
        return self.key.partition("_")[0]

    @property
    def is_judged(self) -> bool:
        """Whether its format is one that is read here."""
        return bool(self.reader and (self.file or (self.reader == FOLDERS and self.folder)))


def data_sets(cfg: Config, loops: tuple[str, ...]) -> Iterator[DataSet]:
    """The data sets of ``loops`` that read files, within any wrappers; nothing is read yet."""
    for key, settings in datasets(cfg, loops):
        if "dataset" in settings or "datasets" in settings:
            continue
        scope = scope_of(settings, cfg.get("default_scope"))
        kind = look_up(settings.get("type"), DATASETS, scope)
        data = DataSet(key, settings, kind if isinstance(kind, type) else None)
        paths = {name: path for name, path, _, _ in dataset_paths(settings, data.kind)}
        data.reader, data.file = reader_of(data.kind), paths.pop("ann_file", None)
        root, split = local(settings.get("data_root")), settings.get("split")
        if data.reader == FOLDERS and data.file is None and root and split:
            listed = root / "meta" / f"{split}.txt"  # ImageNet's
            data.file = listed if listed.is_file() else None
        data.folder = next(reversed(paths.values()), None)
        data.loader = loader_of(settings, scope)
        data.objects = step_of(settings, "LoadAnnotations", scope)
        classes = classes_of(settings, data.kind)
        if isinstance(classes, str):  # MMDetection looks names up in it
            problem = f"{key}: its classes are the text {classes!r}, and no such file is there"
            data.problems.append(Remark(f"{problem}. Write a list: classes=[{classes!r}]"))
            classes = [classes] if data.reader == COCO else list(classes)
        data.classes = classes
        yield data


def reader_of(kind: type | None) -> str:
    """The class whose format data sets of this type have; ``''`` if it is one of neither."""
    # Not the parents' names: a class with a format of its own has its own method.
    owners = (parent for parent in getattr(kind, "__mro__", ()) if "load_data_list" in vars(parent))
    reader = getattr(next(owners, None), "__name__", "")
    # Panoptic annotations are read by a class of their own.
    is_panoptic = reader == COCO and kind.COCOAPI.__name__ != "COCO"  # pyright: ignore
    return reader if reader in (COCO, FOLDERS) and not is_panoptic else ""


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
