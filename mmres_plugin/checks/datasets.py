"""What the data sets of a config hold; a run and ``mmres check`` read them with this."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS, TRANSFORMS

from ..config_parts import datasets, look_up, scope_of
from ..errors import shortened
from ..images import SUFFIXES, Loader, image_files, loader_of
from .annotations import Masks, Objects, nothing_left, read_json, wrong_classes
from .data import dataset_paths, local
from .faults import CHANGES, DROPPED, STOPS, Faults
from .folders import folder_images, listed_images
from .remarks import Remark

# Owners of ``load_data_list`` whose formats are read here.
COCO, FOLDERS = "CocoDataset", "CustomDataset"
MANY = 0.1  # a share of the boxes far beyond their images that is worth a remark
HINT = "`mmres check CONFIG` lists all"


class DataSet(NamedTuple):
    """The settings of one data set.

    Attributes:
        key: Where it stands in the config.
        settings: Its config.
        kind: Its class; None for an unknown type.
        reader: The class whose format it has.
        file: Its annotations or list of images, if it has one.
        folder: What the paths of its images start from.
        classes: Names of its classes, if the config or its class says them.
        loader: How it reads images, if that is known.
        scope: The scope in which its types are looked up.
    """

    key: str
    settings: Mapping
    kind: type | None
    reader: str
    file: Path | None
    folder: Path | None
    classes: list[str] | None
    loader: Loader | None
    scope: str | None

    @property
    def loop(self) -> str:
        """The loop that it is for: ``'train'``, ``'val'`` or ``'test'``."""
        return self.key.partition("_")[0]

    def step(self, name: str) -> Mapping | None:
        """The step of its pipeline whose class, or a parent of it, has this name."""
        for step in self.settings.get("pipeline") or []:
            if isinstance(step, Mapping):
                kind = look_up(step.get("type"), TRANSFORMS, scope_of(step, self.scope))
                if name in {parent.__name__ for parent in getattr(kind, "__mro__", ())}:
                    return step
        return None


@dataclass
class Content:
    """What a data set holds.

    Attributes:
        names: Names of the classes in the order in which the data numbers them.
        faults: The faults of its annotations.
        images: Its images, with the width and height that their annotations give or None.
        ids: File names of the images by their ids, in COCO's format.
        labels: The images of each label, in folders and lists.
        raw: What the annotation file holds.
        problems: Errors and remarks about it, for a run.
    """

    names: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    images: list[tuple[Path, tuple[int, int] | None]] = field(default_factory=list)
    ids: dict[Any, str] = field(default_factory=dict)
    labels: dict[Any, list[Path]] = field(default_factory=dict)
    raw: Any = None
    problems: list[str] = field(default_factory=list)


def data_sets(cfg: Config, loops: tuple[str, ...]) -> Iterator[DataSet]:
    """The data sets of ``loops`` that read files, within any wrappers."""
    for key, settings in datasets(cfg, loops):
        if "dataset" in settings or "datasets" in settings:
            continue
        scope = scope_of(settings, cfg.get("default_scope"))
        kind = look_up(settings.get("type"), DATASETS, scope)
        kind = kind if isinstance(kind, type) else None
        paths = {name: path for name, path, _, _ in dataset_paths(settings, kind)}
        file, root = paths.pop("ann_file", None), local(settings.get("data_root"))
        reader, split = reader_of(kind), settings.get("split")
        if reader == FOLDERS and file is None and root and split:
            listed = root / "meta" / f"{split}.txt"  # ImageNet's
            file = listed if listed.is_file() else None
        folder = next(reversed(paths.values()), None)
        classes, loader = classes_of(settings, kind), loader_of(settings, scope)
        yield DataSet(key, settings, kind, reader, file, folder, classes, loader, scope)


def reader_of(kind: type | None) -> str:
    """The class whose format data sets of this type have; ``''`` if it is one of neither."""
    # Not the parents' names: a class with a format of its own has its own method.
    owners = (parent for parent in getattr(kind, "__mro__", ()) if "load_data_list" in vars(parent))
    reader = getattr(next(owners, None), "__name__", "")
    if reader == COCO and kind is not None:
        # Panoptic annotations are read by a class of their own.
        return COCO if kind.COCOAPI.__name__ == "COCO" else ""  # pyright: ignore
    return reader if reader == FOLDERS else ""


def classes_of(settings: Mapping, kind: type | None) -> list[str] | None:
    """Names of the classes of a data set, as its config or its class gives them."""
    own = settings.get("metainfo") or {}
    default = getattr(kind, "METAINFO", None) or {}
    classes = own.get("classes", settings.get("classes"))
    if isinstance(classes, str) and Path(classes).expanduser().is_file():
        return list_from_file(Path(classes).expanduser())
    if classes is None:  # heads are for things
        classes = default.get("thing_classes") or default.get("classes")
    return list(classes) if isinstance(classes, list | tuple) else None


def is_judged(data: DataSet) -> bool:
    """Whether the format of a data set is one that is read here."""
    return bool(data.reader and (data.file or (data.reader == FOLDERS and data.folder)))


def read_data(data: DataSet, keep: bool = False) -> Content:
    """The content of a data set that :func:`is_judged`; its files must be there.

    Args:
        data: The data set.
        keep: Keep ``raw``, which may take gigabytes.
    """
    content = Content()
    if data.reader == COCO:
        _read_coco(data, content)
    else:
        _read_classes(data, content)
    first = next((path for path, _ in content.images), None)
    loader = data.loader
    if first and loader and loader.is_local and not loader.ignore_empty and not first.is_file():
        content.problems.append(f"{data.key}: its first image is not there: {first}")
    changes, stops = (list(content.faults.lines(effect)) for effect in (CHANGES, STOPS))
    if changes:
        content.problems.append(Remark(f"{data.key}: {'; '.join(changes)} ({HINT})"))
    if stops:
        file = data.file or data.folder
        said = f"{data.key}: {file} cannot be trained on: {'; '.join(stops)} ({HINT})"
        content.problems.insert(0, said)
    content.raw = content.raw if keep else None
    return content


def read_coco(path: Path, content: Content) -> None:
    """Read the categories and images of an annotation file alone, as an evaluator needs them."""
    try:
        content.raw = read_json(path)
    except ValueError as error:
        content.faults.add("not in the format", f"{path}, or it is cut short ({error})")
        return
    if isinstance(content.raw, dict):
        lists = [content.raw.get(name) for name in ("categories", "images")]
        categories, images = (one if isinstance(one, list) else [] for one in lists)
        content.names = [str(c.get("name")) for c in categories if isinstance(c, dict)]
        content.ids = {
            one["id"]: str(one.get("file_name"))
            for one in images
            if isinstance(one, dict) and isinstance(one.get("id"), str | int | float)
        }


def _read_coco(data: DataSet, content: Content) -> None:
    assert data.file is not None
    read_coco(data.file, content)
    if content.raw is None:
        return
    step = data.step("LoadAnnotations")
    masks = Masks(step.get("poly2mask", True)) if step and step.get("with_mask") else None
    objects = Objects(content.raw, data.classes or content.names, masks)
    content.faults = objects.faults
    if list(content.faults.lines(STOPS)):
        return
    content.images = [
        ((data.folder or Path()) / one["file_name"], (one["width"], one["height"]))
        for one in objects.images.values()
    ]
    problem, is_wrong = wrong_classes(data.file, content.names, data.classes or content.names)
    if problem:
        text = f"{data.key}: {problem}"
        content.problems.append(text if is_wrong else Remark(text))
    testing = bool(data.settings.get("test_mode"))
    filter_cfg = None if testing else data.settings.get("filter_cfg")
    nothing, no_image = nothing_left(objects, filter_cfg, str(data.file))
    if nothing and not is_wrong:
        # Of several data sets one may be without objects, and unlabelled ones load none.
        learns = data.loop == "train" and step is not None and ".datasets." not in data.key
        text = f"{data.key}: {nothing}"
        content.problems.append(text if no_image or learns else Remark(text))
    elif list(content.faults.lines(DROPPED)):
        lines = "; ".join(content.faults.lines(DROPPED))
        content.problems.append(
            Remark(f"{data.key}: {data.file}: MMDetection leaves out {lines} ({HINT})")
        )
    far = content.faults.count["box far beyond its image"]
    if far > MANY * objects.total:
        content.problems.append(
            Remark(
                f"{data.key}: {data.file}: {far:,} of {objects.total:,} boxes reach far beyond "
                "their images. Are they x1, y1, x2, y2? They must be x, y, width, height."
            )
        )


def _read_classes(data: DataSet, content: Content) -> None:
    """Read image folders or a list of images."""
    with_label = data.settings.get("with_label", data.settings.get("split") != "test")
    remark = ""
    if data.file:
        folder = data.folder or Path()
        content.labels = dict(listed_images(data.file, folder, with_label, content.faults))
    elif data.folder and with_label:
        extensions = data.settings.get("extensions", SUFFIXES)
        content.labels, remark = folder_images(data.folder, extensions, content.faults)
        content.names = list(content.labels)
        content.problems += _wrong_folders(data, content)
    elif data.folder:
        taken = tuple(data.settings.get("extensions", SUFFIXES))
        files = image_files(data.folder)
        content.labels = {0: [path for path in files if path.name.lower().endswith(taken)]}
    if remark:
        content.problems.append(Remark(f"{data.key}: {remark}"))
    content.images = [(path, None) for paths in content.labels.values() for path in paths]


def _wrong_folders(data: DataSet, content: Content) -> Iterator[str]:
    """Errors where the classes of the config are not the class folders."""
    names, classes = content.names, data.classes
    if not any(content.labels.values()):
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
