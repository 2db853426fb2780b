"""The data sets of a config: which class reads them, from which files, with which classes."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dataset import BaseDataset

from ..config_parts import classes_of, step_of
from ..images import Loader, loader_of
from .faults import Faults, Remark

# Owners of ``load_data_list`` whose formats are read here.
COCO, FOLDERS = "CocoDataset", "CustomDataset"


class Needed(NamedTuple):
    """A file or a folder that a data set or a metric reads.

    Attributes:
        key: Where the config has it.
        path: Where it should be.
        what: ``'file'`` or ``'folder'``.
        is_certain: Whether it is read like this: the class leaves that to MMEngine, MMDetection
            or MMPretrain.
    """

    key: str
    path: Path
    what: str
    is_certain: bool


@dataclass
class DataSet:
    """A data set of the config, and what it holds once :func:`.contents.read_data` has read it.

    Attributes:
        key: Where it stands in the config.
        settings: Its config.
        kind: Its class; None for an unknown type.
        paths: What it reads.
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
    paths: list[Needed] = field(default_factory=list)
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


def data_set(key: str, settings: Mapping, kind: Any, scope: str | None) -> DataSet:
    """The data set of class ``kind`` with these settings; nothing of it is read yet."""
    data = DataSet(key, settings, kind if isinstance(kind, type) else None)
    data.reader, data.paths = reader_of(data.kind), list(needed_paths(key, settings, kind))
    for needed in data.paths:
        if needed.what == "file":
            data.file = needed.path
        else:
            data.folder = needed.path
    root, split = local(settings.get("data_root")), settings.get("split")
    if data.reader == FOLDERS and data.file is None and root and split:
        listed = root / "meta" / f"{split}.txt"  # ImageNet's
        data.file = listed if listed.is_file() else None
    data.loader = loader_of(settings, scope)
    data.objects = step_of(settings, "LoadAnnotations", scope)
    classes = classes_of(settings, data.kind)
    if isinstance(classes, str):  # MMDetection looks names up in it
        problem = f"{key}: its classes are the text {classes!r}, and no such file is there"
        data.problems.append(Remark(f"{problem}. Write a list: classes=[{classes!r}]"))
        classes = [classes] if data.reader == COCO else list(classes)
    data.classes = classes
    return data


def reader_of(kind: type | None) -> str:
    """The class whose format data sets of this type have; ``''`` if it is one of neither."""
    # Not the parents' names: a class with a format of its own has its own method.
    owners = (parent for parent in getattr(kind, "__mro__", ()) if "load_data_list" in vars(parent))
    reader = getattr(next(owners, None), "__name__", "")
    # Panoptic annotations are read by a class of their own.
    is_panoptic = reader == COCO and kind.COCOAPI.__name__ != "COCO"  # pyright: ignore
    return reader if reader in (COCO, FOLDERS) and not is_panoptic else ""


def needed_paths(key: str, dataset: Mapping, kind: Any) -> Iterator[Needed]:
    """What a data set of class ``kind`` with the settings ``dataset`` reads."""
    if has_storage(dataset) or not isinstance(kind, type) or not issubclass(kind, BaseDataset):
        return
    if dataset.get("download", "download" in inspect.signature(kind).parameters):
        return  # it fetches what is missing
    owner = next(parent for parent in kind.__mro__ if "load_data_list" in vars(parent))
    known = owner.__module__.startswith(("mmengine.", "mmdet.", "mmpretrain."))
    given = dataset.get("data_root") or ""
    root = local(given)
    if given and root is None:
        return  # remote storage
    if root is not None:
        yield Needed(f"{key}.data_root", root, "folder", known)
        if not root.is_dir():
            return
    root = root or Path()
    annotations = local(dataset.get("ann_file"))
    if annotations:
        yield Needed(f"{key}.ann_file", root / annotations, "file", known)
    prefixes = dataset.get("data_prefix") or {}
    if isinstance(prefixes, str):
        prefixes = {"": prefixes}
    if not prefixes and dataset.get("split") and "ImageNet" in {c.__name__ for c in kind.__mro__}:
        yield Needed(f"{key}.split", root / dataset["split"], "folder", known)
    for name, prefix in prefixes.items():
        folder = local(prefix)
        if folder:
            yield Needed(f"{key}.data_prefix.{name}".rstrip("."), root / folder, "folder", known)


def has_storage(node: Mapping) -> bool:
    """Whether a data set or metric reads through a storage of its own, whatever its paths say."""
    return (node.get("backend_args") or {}).get("backend", "local") != "local"


def local(path: Any) -> Path | None:
    """``path`` as a local path, or None if there is none or it lies in remote storage."""
    if not isinstance(path, str) or not path or "://" in path or path.startswith("s3:"):
        return None
    return Path(path).expanduser()
