"""Do the data sets, their evaluators and the heads of the model have the same classes?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..config_parts import as_list, type_name
from ..errors import shortened
from .annotations import wrong_classes
from .contents import coco_lists
from .datasets import COCO, FOLDERS, DataSet, has_storage, local
from .faults import Remark
from .setup import Part, Setup

# Heads with an output for each class. An RPN's only tell objects from background.
HEADS = ("head", "bbox_head", "mask_head")
PACKAGES = ("mmdet.", "mmpretrain.")  # whose data sets and heads mean by a class what we do


def class_problems(setup: Setup) -> Iterator[str]:
    """Where data, evaluators and heads disagree about the classes."""
    sets, heads = setup.sets, dict(head_outputs(setup.model_parts))
    numbers: dict[tuple[int, bool], list[DataSet]] = {}
    for data in sets:
        number = class_number(data)
        if number:
            numbers.setdefault(number, []).append(data)
    for (number, is_exact), some in numbers.items():
        yield from head_problems(heads, number, is_exact, ", ".join(data.key for data in some))
        least = 0 if is_exact else min(some[0].labels)
        if least > 0:
            text = f"{some[0].key}: its labels start at {least}, and should at 0: subtract {least}"
            yield text if any(n < number for n in heads.values()) else Remark(text)
    yield from other_folders([data for data in sets if data.names and data.reader != COCO])
    for metric in setup.metrics:
        kind = type_name(metric.settings)
        tops = [k for k in as_list(metric.settings.get("topk")) if isinstance(k, int)]
        top = max(tops, default=1)
        fewest = min(heads.values(), default=top)
        if top > fewest and kind == "Accuracy":
            one = f"{metric.key}.topk"
            yield f"{one}: there is no top-{top} accuracy with {fewest} classes: topk=(1,)"
        if kind == "CocoMetric":
            own = [data for data in sets if data.loop == metric.loop and data.reader == COCO]
            yield from other_file(metric, [data for data in own if data.is_read])


def class_number(data: DataSet) -> tuple[int, bool] | None:
    """How many classes a data set has, and whether that is all of them.

    A list of images need not have every class: heads may have more outputs than it has labels.
    None if there is no number, as with heads that compare texts.
    """
    if data.settings.get("return_classes") or not data.settings.get("with_label", True):
        return None
    if data.reader == FOLDERS and data.labels:
        return (max(data.labels) + 1, False) if data.file else (len(data.names), True)
    origin = getattr(data.kind, "__module__", "")
    is_known = data.reader == COCO or (not data.reader and origin.startswith(PACKAGES))
    return (len(data.classes), True) if data.classes and is_known else None


def head_outputs(parts: Iterable[Part]) -> Iterator[tuple[str, int]]:
    """Key and ``num_classes`` of each head of MMDetection or MMPretrain in a model."""
    for part in parts:
        words = [word for word in part.key.split(".") if not word.isdigit()]
        if words[-1] not in HEADS or "rpn_head" in words:
            continue
        origin, number = getattr(part.kind, "__module__", ""), part.settings.get("num_classes")
        if isinstance(number, int) and origin.startswith(PACKAGES):
            yield f"{part.key}.num_classes", number


def head_problems(
    heads: Mapping[str, int], number: int, is_exact: bool, keys: str
) -> Iterator[str]:
    """What to set in heads whose outputs are not those that the data sets ``keys`` have.

    Too few outputs stop the training; more of them only waste memory.
    """
    few = [head for head, outputs in heads.items() if outputs < number]
    many = [head for head, outputs in heads.items() if is_exact and outputs > number]
    for wrong in (few, many):
        if not wrong:
            continue
        values = ", ".join(f"{head} is {heads[head]}" for head in wrong)
        reason = f"must be {number}, the number of classes of {keys}."
        if not is_exact:
            reason = f"must be {number} or more: {keys} has labels up to {number - 1}."
        options = " ".join(f"{head}={number}" for head in wrong)
        text = f"{values}, {reason}\nWrite it into the config, or: --cfg-options {options}"
        yield text if wrong is few else Remark(text.replace("must be", "and should be", 1))


def other_folders(sets: Sequence[DataSet]) -> Iterator[str]:
    """Where the class folders of two data sets differ, so that their labels may.

    A label is the position of a folder in alphabetical order.
    """
    for data in sets[1:]:
        first, names = sets[0].names, data.names
        if names == first:
            continue
        label_of = {name.casefold(): label for label, name in enumerate(first)}
        shifted = [
            f"{name} is {label}, {first[label_of[name.casefold()]]} is {label_of[name.casefold()]}"
            for label, name in enumerate(names)
            if label_of.get(name.casefold(), label) != label
        ]
        only = [name for name in names if name not in first]
        lacking = [name for name in first if name not in names]
        text = (
            f"{data.key}: its class folders are not those of {sets[0].key}: "
            f"only in {data.folder}: {shortened(only, 10) or 'none'}; "
            f"only in {sets[0].folder}: {shortened(lacking, 10) or 'none'}."
        )
        if shifted:
            yield f"{text} So the same class has two labels: {shortened(shifted, 3)}"
        else:
            yield Remark(text)


def other_file(metric: Part, sets: Sequence[DataSet]) -> Iterator[str]:
    """Where a COCO metric compares with the annotations of other images or classes."""
    key, path = metric.key, local(metric.settings.get("ann_file"))
    if path is None or has_storage(metric.settings) or not path.is_file():
        return
    others = [data for data in sets if data.file and data.file.resolve() != path.resolve()]
    try:
        names, ids = coco_lists(path)[1:] if others else ([], {})
    except ValueError as error:
        yield f"{key}.ann_file: not in the format: {error}"
        return
    for data in others:
        problem, is_wrong = wrong_classes(path, names, data.classes or data.names)
        if is_wrong:
            yield f"{key}.ann_file: {problem}"
        reasons = [
            f"image {number} is {Path(name).name} in one, {Path(ids[number]).name} in the other"
            for number, name in data.ids.items()
            if number in ids and Path(ids[number]).name != Path(name).name
        ][:2]
        strange = [name for number, name in data.ids.items() if number not in ids]
        reasons += [f"it lacks {shortened(strange, 3)}"] if strange else []
        cure = f"Write {key}.ann_file={data.file}"
        if ".datasets." in data.key:
            cure = (
                "A COCO metric is for one data set. For several: type='MultiDatasetsEvaluator' "
                "with a metric and a prefix for each"
            )
        text = f"{key}.ann_file: {path} is not the annotation file of {data.key}, {data.file}"
        if reasons:
            yield f"{text}: {'; '.join(reasons)}. {cure}"
        elif not is_wrong:
            images = f"{len(ids):,} and {len(data.ids):,} images"
            yield Remark(
                f"{text}: they have {images}. Objects that only one of them has count as wrong"
            )
