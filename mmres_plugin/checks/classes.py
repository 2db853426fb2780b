"""Do the data, the config and the heads of the model have the same classes?

:mod:`mmres_plugin.data_check` compares the classes of the config with those of annotation files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from ..config_parts import as_list, dicts, metrics, type_name
from ..engine.bad_images import leaves
from ..errors import shortened

# Heads with an output for each class. An RPN's only tell objects from background.
HEADS = ("head", "bbox_head", "mask_head")


def wrong_labels(cfg: Config, datasets: Mapping[str, Any]) -> Iterator[str]:
    """A problem for each place where data, config and heads disagree about the classes.

    Args:
        cfg: The config.
        datasets: The data sets by loop: ``'train'``, ``'val'`` or ``'test'``.
    """
    numbers: dict[tuple[int, bool], list[str]] = {}
    for loop, dataset in datasets.items():
        place = f"{loop}_dataloader.dataset"
        for leaf in leaves(dataset):
            yield from wrong_order(leaf, place)
            number = class_number(leaf)
            if number:
                numbers.setdefault(number, []).append(place)
    heads = dict(head_outputs(cfg.get("model") or {}))
    for (number, exact), places in numbers.items():
        wrong = [head for head, n in heads.items() if n < number or (exact and n != number)]
        if wrong:
            yield head_problem(heads, wrong, number, exact, ", ".join(dict.fromkeys(places)))
    fewest = min([*(n for n, exact in numbers if exact), *heads.values()], default=0)
    for place, metric in [found for loop in datasets for found in metrics(cfg, loop)]:
        top = max(as_list(metric.get("topk")), default=1)
        if fewest and top > fewest and type_name(metric) == "Accuracy":
            yield (
                f"{place}.topk: there is no top-{top} accuracy with {fewest} "
                "classes. Write topk=(1,)"
            )


def class_number(dataset: Any) -> tuple[int, bool] | None:
    """How many classes a data set has, and whether heads must have just as many outputs.

    A list of images need not have every class: heads may have more outputs than it has labels.
    None if there is no number, as with heads that compare texts.
    """
    names = getattr(dataset, "metainfo", None) or {}
    classes = names.get("thing_classes") or names.get("classes")  # heads are for things
    if getattr(dataset, "return_classes", False):
        return None
    if getattr(dataset, "ann_file", "") and hasattr(dataset, "get_gt_labels"):
        labelled = getattr(dataset, "with_label", True) and len(dataset)
        return (int(dataset.get_gt_labels().max()) + 1, False) if labelled else None
    return (len(classes), True) if classes else None


def wrong_order(dataset: Any, place: str) -> Iterator[str]:
    """A problem where the classes are the names of the folders, but in another order."""
    folders = list(getattr(dataset, "folder_to_idx", None) or ())
    classes = list(dataset.metainfo.get("classes") or ()) if folders else []
    if classes != folders and sorted(classes) == sorted(folders):
        yield (
            f"{place}: the class folders are labelled in the order {shortened(folders, 10)}; the "
            f"classes are {shortened(classes, 10)}."
        )


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
