"""Do the data, the config and the heads of the model have the same classes?

Looked at are data sets in COCO's format (MMDetection's ``CocoDataset``) and image folders and
lists (MMPretrain's ``CustomDataset`` and ``ImageNet``). :mod:`.data` names files that are missing.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import shortened
from .data import dataset_paths, local
from .names import as_list, datasets, dicts, look_up, metrics, scope_of

# Larger files are not read: at 15 MB a second, the 450 MB of COCO's training set would hold up
# each start of each process for half a minute. The validation set has the same classes.
LARGEST_FILE = 32_000_000
# Heads with an output for each class. An RPN's only tell objects from background.
HEADS = ("head", "bbox_head", "mask_head")
SHOWN = 10


class Labels(NamedTuple):
    """The classes of a data set.

    Attributes:
        number: How many there are, or None if that is not known.
        exact: Whether heads must have just as many outputs; else they may have more.
        problem: What does not fit together within the data set, or None.
    """

    number: int | None = None
    exact: bool = True
    problem: str | None = None


def wrong_labels(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each place where data, config and heads disagree about the classes.

    Args:
        cfg: The config.
        loops: The loops that will run, of ``'train'``, ``'val'`` and ``'test'``.
    """
    problems: dict[str, list[str]] = {}
    numbers: dict[tuple[int, bool], list[str]] = {}
    for place, dataset in datasets(cfg, loops):
        number, exact, problem = dataset_labels(dataset, cfg.get("default_scope"))
        if problem:
            problems.setdefault(problem, []).append(place)
        if number:
            numbers.setdefault((number, exact), []).append(place)
    for problem, places in problems.items():
        yield f"{', '.join(places)}: {problem}"
    heads = dict(head_outputs(cfg.get("model") or {}))
    for (number, exact), places in numbers.items():
        wrong = [head for head, n in heads.items() if n < number or (exact and n != number)]
        if wrong:
            yield head_problem(heads, wrong, number, exact, ", ".join(places))
    fewest = min([*(n for n, exact in numbers if exact), *heads.values()], default=0)
    for place, metric in [found for loop in loops for found in metrics(cfg, loop)]:
        top = max(as_list(metric.get("topk")), default=1)
        if fewest and top > fewest and str(metric.get("type")).rpartition(".")[2] == "Accuracy":
            yield (
                f"{place.rpartition('.')[0]}.topk: there is no top-{top} accuracy with {fewest} "
                "classes. Write topk=(1,)"
            )


def dataset_labels(dataset: dict, scope: str | None) -> Labels:
    """What the config and the files say of the classes of one data set."""
    kind = look_up(dataset.get("type"), DATASETS, scope_of(dataset, scope))
    # Not the parents' names: a class with a format of its own has its own method.
    owners = (parent for parent in getattr(kind, "__mro__", ()) if "load_data_list" in vars(parent))
    reader = next((owner.__name__ for owner in owners), None)
    paths = {key: path for key, path, _ in dataset_paths(dataset, scope)}
    annotations = paths.pop("ann_file", None)
    if reader == "CocoDataset" and not dataset.get("return_classes"):  # heads that compare texts
        return coco_labels(dataset, kind, annotations)
    if reader == "CustomDataset" and dataset.get("with_label", True):
        split, root = dataset.get("split"), local(dataset.get("data_root"))
        if annotations is None and root and split and (root / "meta" / f"{split}.txt").is_file():
            annotations = root / "meta" / f"{split}.txt"  # ImageNet's list
        if annotations is not None and split != "test":
            return listed_labels(annotations)
        if paths and split != "test":
            return folder_labels(dataset, kind, list(paths.values())[-1])
    return Labels()


def coco_labels(dataset: dict, kind: type, path: Path | None) -> Labels:
    """The classes of a data set in COCO's format, and whether ``path`` has them."""
    given = given_names(dataset)
    classes = given or kind.METAINFO.get("classes")
    if classes is None:
        return Labels()
    if path is None or not is_readable(path):  # COCO's 80 by default say nothing of the file
        return Labels(len(given) if given else None)
    try:
        names = [category["name"] for category in json.loads(path.read_bytes())["categories"]]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        return Labels(problem=f"{path} is not in COCO's format, or is cut short ({reason})")
    known = kind.__name__ != "CocoDataset" and not given  # a data set that comes with its classes
    if known or [name for name in names if name in classes] == list(classes):
        return Labels(len(classes))
    lacking = [name for name in classes if name not in names]
    differ = f"MMDetection numbers classes in the order of the file, {shortened(names, SHOWN)}"
    if lacking:
        differ = f"{len(lacking)} not in the file: {shortened(lacking, SHOWN)}"
        only = [name for name in names if name not in classes]
        if only:
            differ += f"; {len(only)} only in the file: {shortened(only, SHOWN)}"
    origin = "metainfo names none, so they are COCO's. " if not given else ""
    return Labels(
        len(given or names),
        problem=f"the classes are not those of {path}: {differ}.\n{origin}"
        f"If the file is right, write into each data set: metainfo=dict(classes={quoted(names)})",
    )


def folder_labels(dataset: dict, kind: type, folder: Path) -> Labels:
    """The classes of a data set whose images lie in one folder per class."""
    if not folder.is_dir():
        return Labels()
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not names:
        return Labels(problem=f"labels come from folders, but there is none: {folder}/<class>/")
    given = given_names(dataset)
    classes = given or kind.METAINFO.get("classes") or names
    if len(classes) == len(names) and (set(classes) != set(names) or list(classes) == names):
        return Labels(len(names))  # other words for the folders' names are welcome
    own = f"the {len(classes)} of {kind.__name__}: metainfo has none"
    return Labels(
        len(names),
        problem=f"{folder} has {len(names)} class folders ({shortened(names, SHOWN)}), which are "
        f"labelled in this order; the classes are {shortened(given, SHOWN) if given else own}.\n"
        f"If the folders are right, write: metainfo=dict(classes={quoted(names)})",
    )


def listed_labels(path: Path) -> Labels:
    """The classes of a list of images, of which each line ends with a label."""
    if not is_readable(path):
        return Labels()
    lines = path.read_text("utf-8", errors="replace").splitlines()
    ends = [line.strip().rpartition(" ")[2] for line in lines]
    labels = [int(end) for end in ends if end.isdecimal()]
    return Labels(max(labels) + 1 if labels else None, exact=False)


def head_outputs(model: Any) -> Iterator[tuple[str, int]]:
    """Place and ``num_classes`` of each head in a model's config that has this key."""
    for place, part in dicts(model, "model"):
        words = [word for word in place.split(".") if not word.isdigit()]
        named = words[-1] in HEADS and "rpn_head" not in words
        if named and isinstance(part.get("num_classes"), int):
            yield f"{place}.num_classes", part["num_classes"]


def head_problem(
    outputs: dict[str, int], wrong: list[str], number: int, exact: bool, places: str
) -> str:
    """The message for the heads ``wrong``, whose outputs are not those that ``places`` want."""
    values = ", ".join(f"{head} is {outputs[head]}" for head in wrong)
    reason = f"must be {number}, the number of classes of {places}."
    if not exact:
        reason = f"must be {number} or more: {places} has labels up to {number - 1}."
    options = " ".join(f"{head}={number}" for head in wrong)
    return f"{values}, {reason}\nWrite it into the config, or: --cfg-options {options}"


def given_names(dataset: dict) -> list[str]:
    """The names of classes that the config gives to a data set; empty if it gives none."""
    metainfo = dataset.get("metainfo")
    names = metainfo.get("classes") if isinstance(metainfo, dict) else None
    names = names or dataset.get("classes") or []
    if isinstance(names, str) and is_readable(Path(names)):
        names = Path(names).read_text("utf-8").splitlines()
    return list(names)  # of a string, letters: as the data sets take it


def is_readable(path: Path) -> bool:
    """Whether there is a file at ``path`` that is neither empty nor too large to be read here."""
    return path.is_file() and 0 < path.stat().st_size <= LARGEST_FILE


def quoted(names: Sequence[str]) -> str:
    """``names`` as they are written into a config, shortened."""
    return f"[{shortened(list(map(repr, names)), SHOWN)}]"
