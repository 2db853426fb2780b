"""Do the data, the config and the heads of the model have the same classes?

Looked at are data sets in COCO's format (MMDetection's ``CocoDataset``) and image folders and
lists (MMPretrain's ``CustomDataset`` and ``ImageNet``). Files that are missing are not spoken of
here: :mod:`.data_check` names them.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS

from .data_check import dataset_paths, local
from .type_check import as_list, class_of, datasets, dicts, scope_of

# Larger files are not read: at 15 MB a second, the 450 MB of COCO's training set would hold up
# each start of each process for half a minute. The validation set has the same classes.
LARGEST_FILE = 32_000_000
# Heads with an output for each class. An RPN's only tell objects from background.
HEADS = ("head", "bbox_head", "mask_head")
SHOWN_NAMES = 10


class Classes(NamedTuple):
    """The classes of a data set.

    Attributes:
        number: How many there are, or None if that is not known.
        exact: Whether heads must have just as many outputs; else they may have more.
        problem: What does not fit together within the data set, or None.
    """

    number: int | None = None
    exact: bool = True
    problem: str | None = None


def wrong_classes(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each place where data, config and heads disagree about the classes.

    Args:
        cfg: The config.
        loops: The loops that will run, of ``'train'``, ``'val'`` and ``'test'``.
    """
    problems: dict[str, list[str]] = {}
    numbers: dict[tuple[int, bool], list[str]] = {}
    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader") or {}
        for place, dataset in datasets(loader.get("dataset"), f"{loop}_dataloader.dataset"):
            number, exact, problem = dataset_classes(dataset, cfg.get("default_scope"))
            if problem:
                problems.setdefault(problem, []).append(place)
            if number:
                numbers.setdefault((number, exact), []).append(place)
    for problem, places in problems.items():
        yield f"{', '.join(places)}: {problem}"
    heads = list(head_outputs(cfg.get("model") or {}))
    for (number, exact), places in numbers.items():
        wrong = [
            head for head, outputs in heads if outputs < number or (exact and outputs != number)
        ]
        if wrong:
            yield head_problem(dict(heads), wrong, number, exact, places)
    fewest = min([number for number, exact in numbers if exact] + [n for _, n in heads], default=0)
    if fewest:
        yield from wrong_topk(cfg, loops, fewest)


def wrong_topk(cfg: Config, loops: tuple[str, ...], classes: int) -> Iterator[str]:
    """A problem for each accuracy that counts more of the likeliest classes than there are."""
    for loop in loops:
        for metric in as_list(cfg.get(f"{loop}_evaluator")):
            if str(metric.get("type")).rpartition(".")[2] == "Accuracy":
                highest = max(as_list(metric.get("topk")), default=1)
                if highest > classes:
                    yield (
                        f"{loop}_evaluator.topk: there is no top-{highest} accuracy with "
                        f"{classes} classes. Write topk=(1,)"
                    )


def dataset_classes(dataset: dict, scope: str | None) -> Classes:
    """What the config and the files say of the classes of one data set."""
    kind = class_of(dataset.get("type"), DATASETS, scope_of(dataset, scope))
    # Not the parents' names: a class with a format of its own has its own method.
    owners = (parent for parent in getattr(kind, "__mro__", ()) if "load_data_list" in vars(parent))
    reader = next((owner.__name__ for owner in owners), None)
    paths = {key: path for key, path, _ in dataset_paths(dataset, scope)}
    annotations = paths.pop("ann_file", None)
    if reader == "CocoDataset" and not dataset.get("return_classes"):  # heads that compare texts
        return coco_classes(dataset, kind, annotations)
    labelled = dataset.get("with_label", True) and dataset.get("split") != "test"
    if reader == "CustomDataset" and labelled:
        root = local(dataset.get("data_root"))
        if annotations is None and root and dataset.get("split"):  # ImageNet's list, if it is there
            listed = root / "meta" / f"{dataset['split']}.txt"
            annotations = listed if listed.is_file() else None
        if annotations is not None:
            return listed_classes(annotations)
        if paths:
            return folder_classes(dataset, kind, list(paths.values())[-1])
    return Classes()


def coco_classes(dataset: dict, kind: type, path: Path | None) -> Classes:
    """The classes of a data set in COCO's format, and whether ``path`` has them."""
    given = given_names(dataset)
    classes = given or kind.METAINFO.get("classes")
    if classes is None:
        return Classes()
    try:
        names = coco_categories(path) if is_readable(path) else None
    except ValueError as error:
        return Classes(problem=str(error))
    if names is None:  # the 80 of COCO are nobody's choice: they say nothing of the file
        return Classes(len(given) if given else None)
    known = kind.__name__ != "CocoDataset" and not given  # a data set that comes with its classes
    if known or [name for name in names if name in classes] == list(classes):
        return Classes(len(classes))
    lacking = [name for name in classes if name not in names]
    if lacking:
        differ = f"not in the file: {listed(lacking)}"
        only = [name for name in names if name not in classes]
        if only:
            differ += f"; only in the file: {listed(only)}"
    else:
        differ = f"MMDetection numbers classes in the order of the file, {listed(names)}"
    origin = "metainfo names none, so they are COCO's. " if not given else ""
    return Classes(
        len(given or names),
        problem=f"the classes are not those of {path}: {differ}.\n{origin}"
        f"If the file is right, write into each data set: metainfo=dict(classes={quoted(names)})",
    )


def coco_categories(path: Path) -> list[str]:
    """The names of the categories of an annotation file, in its order.

    Raises:
        ValueError: The file is not JSON, or has no categories.
    """
    try:
        return [category["name"] for category in json.loads(path.read_bytes())["categories"]]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not in COCO's format, or is cut short ({reason})") from error


def folder_classes(dataset: dict, kind: type, folder: Path) -> Classes:
    """The classes of a data set whose images lie in one folder a class."""
    if not folder.is_dir():
        return Classes()
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not names:
        return Classes(problem=f"labels come from folders, but there is none: {folder}/<class>/")
    given = given_names(dataset)
    classes = given or kind.METAINFO.get("classes") or names
    if len(classes) == len(names) and (set(classes) != set(names) or list(classes) == names):
        return Classes(len(names))  # other words for the folders' names are welcome
    own = listed(given) if given else f"the {len(classes)} of {kind.__name__}: metainfo has none"
    return Classes(
        len(names),
        problem=f"{folder} has {len(names)} class folders ({listed(names)}), which are labelled in "
        f"this order; the classes are {own}.\n"
        f"If the folders are right, write: metainfo=dict(classes={quoted(names)})",
    )


def listed_classes(path: Path) -> Classes:
    """The classes of a list of images, of which each line ends with a label."""
    if not is_readable(path):
        return Classes()
    lines = path.read_text("utf-8", errors="replace").splitlines()
    ends = [line.strip().rpartition(" ")[2] for line in lines]
    labels = [int(end) for end in ends if end.isdecimal()]
    return Classes(max(labels) + 1 if labels else None, exact=False)


def head_outputs(model: Any) -> Iterator[tuple[str, int]]:
    """Place and ``num_classes`` of each head in a model's config that has this key."""
    for place, part in dicts(model, "model"):
        words = [word for word in place.split(".") if not word.isdigit()]
        named = words[-1] in HEADS and "rpn_head" not in words
        if named and isinstance(part.get("num_classes"), int):
            yield f"{place}.num_classes", part["num_classes"]


def head_problem(
    outputs: dict[str, int], wrong: list[str], number: int, exact: bool, places: list[str]
) -> str:
    """The message for the heads ``wrong``, whose outputs are not those that ``places`` want."""
    values = ", ".join(f"{head} is {outputs[head]}" for head in wrong)
    if exact:
        reason = f"must be {number}, the number of classes of {', '.join(places)}."
    else:
        reason = f"must be {number} or more: {', '.join(places)} has labels up to {number - 1}."
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


def is_readable(path: Path | None) -> bool:
    """Whether there is a file at ``path`` that is neither empty nor too large to be read here."""
    return path is not None and path.is_file() and 0 < path.stat().st_size <= LARGEST_FILE


def listed(names: Sequence[str]) -> str:
    """``names`` for a message, shortened."""
    shown = ", ".join(map(str, names[:SHOWN_NAMES]))
    return shown if len(names) <= SHOWN_NAMES else f"{shown}, … ({len(names)} in all)"


def quoted(names: Sequence[str]) -> str:
    """``names`` as they are written into a config, shortened."""
    shown = ", ".join(map(repr, names[:SHOWN_NAMES]))
    return f"[{shown}]" if len(names) <= SHOWN_NAMES else f"[{shown}, …]"
