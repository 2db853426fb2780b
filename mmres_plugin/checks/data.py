"""Is the data where the config says it is?"""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..config_parts import datasets, look_up, metrics, scope_of, type_name
from ..errors import did_you_mean
from .faults import Remark

# How to get the data, by what the type of the data set ends with.
LAYOUTS = {
    "CocoDataset": """COCO 2017 belongs there like this (or a link: ln -s /path/to/coco {root}):
  {root}/annotations/instances_train2017.json, instances_val2017.json
  {root}/train2017/*.jpg
  {root}/val2017/*.jpg""",
    "ImageNet": """ImageNet belongs there like this (or a link: ln -s /path/to/imagenet {root}):
  {root}/train/<class>/*.JPEG
  {root}/val/<class>/*.JPEG   (or {root}/val/*.JPEG with {root}/meta/val.txt)""",
    "CUB": """CUB-200-2011 belongs there like this (or a link: ln -s /path/to/CUB_200_2011 {root}):
  {root}/images.txt, image_class_labels.txt, train_test_split.txt
  {root}/images/<class>/*.jpg""",
}
DIGITS = "The digits are made by: mmres digits"
OTHER = "Put the data there, or say where it is: --cfg-options {key}=/path/to/data"


def missing_data(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """One problem per folder or file of the data sets that is not there, then how to get them.

    Of a data set whose root is missing, only the root is named. What data sets of unknown types may
    read in another way is a remark.
    """
    missing: dict[Path, tuple[str, list[str], bool]] = {}
    hints: dict[str, None] = {}
    for key, path, what, hint, is_known in needed(cfg, loops):
        problem = path_problem(path, what)
        if problem:
            missing.setdefault(path.absolute(), (problem, [], is_known))[1].append(key)
            hints.update({hint: None} if is_known else {})
    for path, (problem, keys, is_known) in missing.items():
        near = path.parent.iterdir() if path.parent.is_dir() and not path.exists() else ()
        meant = did_you_mean(path.name, [other.name for other in near])
        text = f"{problem}: {path}{meant and '.' + meant}\n(needed by {', '.join(keys)})"
        yield text if is_known else Remark(text)
    yield from (hint for hint in hints if hint)


def pickles(cfg: Config, loops: tuple[str, ...]) -> Iterator[Remark]:
    """A remark for each file of a data set that MMEngine will unpickle."""
    for key, dataset in datasets(cfg, loops):
        for name in ("ann_file", "proposal_file"):
            if str(dataset.get(name)).endswith((".pkl", ".pickle")):
                yield Remark(
                    f"{key}.{name}: {dataset[name]} is a pickle, and reading one runs what is in "
                    "it. Stop here unless you made it or trust its authors"
                )


def needed(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, Path, str, str, bool]]:
    """What ``loops`` read: key, path, ``'file'`` or ``'folder'``, how to get it, is it certain."""
    for key, dataset in datasets(cfg, loops):
        if "dataset" in dataset or "datasets" in dataset:
            continue  # a wrapper; what it wraps follows
        kind = look_up(dataset.get("type"), DATASETS, scope_of(dataset, cfg.get("default_scope")))
        for name, path, what, is_known in dataset_paths(dataset, kind):
            hint = how_to_get(dataset, name, path, f"{key}.data_root")
            yield f"{key}.{name}", path, what, hint, is_known
    for key, metric in [found for loop in loops for found in metrics(cfg, loop)]:
        path = local(metric.get("ann_file"))
        if path and not has_storage(metric):
            yield f"{key}.ann_file", path, "file", "", type_name(metric) == "CocoMetric"


def path_problem(path: Path, what: str) -> str | None:
    """What is wrong with ``path``, which must be a ``'file'`` or a ``'folder'``, or None."""
    if not path.exists():
        return f"there is no {what}"
    if not (path.is_file() if what == "file" else path.is_dir()):
        return f"this is no {what}"
    empty = path.stat().st_size == 0 if what == "file" else next(path.iterdir(), None) is None
    return f"this {what} is empty" if empty else None


def dataset_paths(dataset: dict, kind: Any) -> Iterator[tuple[str, Path, str, bool]]:
    """What a data set of class ``kind`` reads: key, path, file or folder, is it certain.

    It is, where the class leaves the reading to MMEngine, MMDetection or MMPretrain.
    """
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
        yield "data_root", root, "folder", known
        if not root.is_dir():
            return
    root = root or Path()
    annotations = local(dataset.get("ann_file"))
    if annotations:
        yield "ann_file", root / annotations, "file", known
    prefixes = dataset.get("data_prefix") or {}
    if isinstance(prefixes, str):
        prefixes = {"": prefixes}
    if not prefixes and dataset.get("split") and "ImageNet" in {c.__name__ for c in kind.__mro__}:
        yield "split", root / dataset["split"], "folder", known
    for name, prefix in prefixes.items():
        folder = local(prefix)
        if folder:
            yield f"data_prefix.{name}".rstrip("."), root / folder, "folder", known


def has_storage(node: Mapping) -> bool:
    """Whether a data set or metric reads through a storage of its own, whatever its paths say."""
    return (node.get("backend_args") or {}).get("backend", "local") != "local"


def local(path: Any) -> Path | None:
    """``path`` as a local path, or None if there is none or it lies in remote storage."""
    if not isinstance(path, str) or not path or "://" in path or path.startswith("s3:"):
        return None
    return Path(path).expanduser()


def how_to_get(dataset: dict, key: str, path: Path, root_key: str) -> str:
    """How to get ``path``, which ``dataset`` asks for under ``key``; may be empty."""
    root = str(dataset.get("data_root") or "data").rstrip("/")
    kind = type_name(dataset)
    if "digits" in Path(root).parts:
        return DIGITS
    layout = LAYOUTS.get(kind, OTHER).format(root=root, key=root_key)
    # A file name of the user's own is theirs to fix: where COCO belongs is no answer to it.
    own = kind == "CocoDataset" and key != "data_root" and path.name not in layout
    return "" if own else layout
