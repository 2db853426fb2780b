"""Is the data where the config says it is?"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from .type_check import as_list, class_of, datasets, scope_of

COCO = """COCO 2017 belongs there like this (or a link: ln -s /path/to/coco {root}):
  {root}/annotations/instances_train2017.json, instances_val2017.json
  {root}/train2017/*.jpg
  {root}/val2017/*.jpg"""
IMAGENET = """ImageNet belongs there like this (or a link: ln -s /path/to/imagenet {root}):
  {root}/train/<class>/*.JPEG
  {root}/val/<class>/*.JPEG   (or {root}/val/*.JPEG with {root}/meta/val.txt)"""
DIGITS = "The digits are made by: python tools/datasets/build_digits.py"
OTHER = "Put the data there, or say where it is: --cfg-options {key}=/path/to/data"


def missing_data(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """One problem per folder or file of the data sets that is not there.

    Args:
        cfg: The config.
        loops: The loops that will run, of ``'train'``, ``'val'`` and ``'test'``.
    """
    missing: dict[Path, list[tuple[str, str]]] = {}
    hints: dict[str, None] = {}
    for key, path, what, hint in needed_paths(cfg, loops):
        problem = path_problem(path, what)
        if problem:
            missing.setdefault(path.absolute(), []).append((key, problem))
            hints[hint] = None
    for path, places in missing.items():
        keys = ", ".join(key for key, _ in places)
        yield f"{places[0][1]}: {path}\n(asked for by {keys})"
    yield from hints


def path_problem(path: Path, what: str) -> str | None:
    """What is wrong with ``path``, which must be a ``'file'`` or a ``'folder'``, or None."""
    if not path.exists():
        return f"there is no {what}"
    if what == "file" and not path.is_file():
        return "this is a folder where a file is expected"
    if what == "folder" and not path.is_dir():
        return "this is a file where a folder is expected"
    if what == "file" and path.stat().st_size == 0:
        return "this file is empty"
    if what == "folder" and next(path.iterdir(), None) is None:
        return "this folder is empty"
    return None


def needed_paths(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, Path, str, str]]:
    """Key in the config, path, ``'file'`` or ``'folder'`` and advice for all that must be there.

    Of a data set whose root is missing, only the root is named.
    """
    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader") or {}
        for place, dataset in datasets(loader.get("dataset"), f"{loop}_dataloader.dataset"):
            if "dataset" in dataset or "datasets" in dataset:
                continue  # a wrapper; what it wraps follows
            hint = advice(dataset, place)
            for key, path, what in dataset_paths(dataset, cfg.get("default_scope")):
                yield f"{place}.{key}", path, what, hint
        for index, metric in enumerate(as_list(cfg.get(f"{loop}_evaluator"))):
            annotations = local(metric.get("ann_file"))
            if annotations and not elsewhere(metric):
                place = f"{loop}_evaluator.ann_file"
                if not isinstance(cfg.get(f"{loop}_evaluator"), dict):
                    place = f"{loop}_evaluator.{index}.ann_file"
                root = loader.get("dataset", {}).get("data_root") or annotations
                yield place, annotations, "file", advice({**metric, "data_root": str(root)}, place)


def dataset_paths(dataset: dict, scope: str | None) -> Iterator[tuple[str, Path, str]]:
    """Key, path and ``'file'`` or ``'folder'`` for what one data set reads."""
    if elsewhere(dataset):
        return
    parents = class_names(dataset.get("type"), scope_of(dataset, scope))
    if dataset.get("download", "download" in parents):
        return  # it fetches what is missing
    given = dataset.get("data_root") or ""
    root = local(given)
    if given and root is None:
        return  # remote storage
    if root is not None:
        yield "data_root", root, "folder"
        if not root.is_dir():
            return
    root = root or Path()
    annotations = local(dataset.get("ann_file"))
    if annotations:
        yield "ann_file", root / annotations, "file"
    prefixes = dataset.get("data_prefix") or {}
    if isinstance(prefixes, str):
        prefixes = {"": prefixes}
    if not prefixes and dataset.get("split") and "ImageNet" in parents:
        yield "split", root / dataset["split"], "folder"
    for name, prefix in prefixes.items():
        folder = local(prefix)
        if folder:
            yield f"data_prefix.{name}".rstrip("."), root / folder, "folder"


def class_names(kind: Any, scope: str | None) -> set[str]:
    """Names of the class registered as ``kind`` and of its parents.

    A class that can download its data counts ``'download'`` among them. Empty for an unknown name.
    """
    kind = class_of(kind, DATASETS, scope)
    if kind is None:
        return set()
    names = {parent.__name__ for parent in kind.__mro__}
    if "download" in inspect.signature(kind).parameters:
        names.add("download")
    return names


def elsewhere(node: dict) -> bool:
    """Whether a data set or metric reads through a storage of its own, whatever its paths say."""
    return (node.get("backend_args") or {}).get("backend", "local") != "local"


def local(path: Any) -> Path | None:
    """``path`` as a local path, or None if there is none or it lies in remote storage."""
    if not isinstance(path, str) or not path or "://" in path or path.startswith("s3:"):
        return None
    return Path(path).expanduser()


def advice(dataset: dict, place: str) -> str:
    """How to come by the data of ``dataset``."""
    root = str(dataset.get("data_root") or "data").rstrip("/")
    if "digits" in Path(root).parts:
        return DIGITS
    if str(dataset.get("type", "")).rpartition(".")[2] in ("CocoDataset", "CocoMetric"):
        return COCO.format(root=root)
    if str(dataset.get("type", "")).rpartition(".")[2] == "ImageNet":
        return IMAGENET.format(root=root)
    return OTHER.format(key=f"{place}.data_root")
