"""Do the data sets, their evaluators and the heads of the model have the same classes?"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine import registry
from mmengine.config import Config

from ..config_parts import as_list, dicts, look_up, metrics, scope_of, type_name
from ..errors import shortened
from .annotations import wrong_classes
from .data import has_storage, local
from .datasets import COCO, FOLDERS, Content, DataSet, read_coco
from .remarks import Remark

# Heads with an output for each class. An RPN's only tell objects from background.
HEADS = ("head", "bbox_head", "mask_head")
PACKAGES = ("mmdet.", "mmpretrain.")  # whose data sets and heads mean by a class what we do
Contents = Sequence[tuple[DataSet, Content]]


def class_problems(cfg: Config, sets: Sequence[DataSet], read: Contents) -> Iterator[str]:
    """Where data, evaluators and heads disagree about the classes.

    Args:
        cfg: The config.
        sets: The data sets of the loops that run.
        read: Those that could be read, with what they hold.
    """
    contents = {data.key: content for data, content in read}
    heads = dict(head_outputs(cfg))
    numbers: dict[tuple[int, bool], list[str]] = {}
    for data in sets:
        number = class_number(data, contents.get(data.key))
        if number:
            numbers.setdefault(number, []).append(data.key)
    for (number, is_exact), keys in numbers.items():
        yield from head_problems(heads, number, is_exact, ", ".join(keys))
        least = 0 if is_exact else min(contents[keys[0]].labels)
        if least > 0:
            text = f"{keys[0]}: its labels start at {least}, and should at 0: subtract {least}"
            yield text if any(n < number for n in heads.values()) else Remark(text)
    yield from other_folders([one for one in read if one[1].names and one[0].reader != COCO])
    loops = dict.fromkeys(data.loop for data in sets)
    for key, metric in [found for loop in loops for found in metrics(cfg, loop)]:
        top = max(as_list(metric.get("topk")), default=1)
        if heads and top > min(heads.values()) and type_name(metric) == "Accuracy":
            fewest = min(heads.values())
            yield f"{key}.topk: there is no top-{top} accuracy with {fewest} classes: topk=(1,)"
    for loop in loops:
        if loop != "train":
            yield from other_file(cfg, loop, [one for one in read if one[0].loop == loop])


def class_number(data: DataSet, content: Content | None) -> tuple[int, bool] | None:
    """How many classes a data set has, and whether that is all of them.

    A list of images need not have every class: heads may have more outputs than it has labels.
    None if there is no number, as with heads that compare texts.
    """
    origin = getattr(data.kind, "__module__", "")
    with_label = data.settings.get("with_label", True)
    if data.settings.get("return_classes") or not with_label:
        return None
    if data.reader == FOLDERS and content is not None and content.labels:
        return (max(content.labels) + 1, False) if data.file else (len(content.names), True)
    is_known = data.reader == COCO or (not data.reader and origin.startswith(PACKAGES))
    return (len(data.classes), True) if data.classes and is_known else None


def head_outputs(cfg: Config) -> Iterator[tuple[str, int]]:
    """Key and ``num_classes`` of each head of MMDetection or MMPretrain that has this key."""
    for key, part in dicts(cfg.get("model") or {}, "model"):
        words = [word for word in key.split(".") if not word.isdigit()]
        if words[-1] not in HEADS or "rpn_head" in words:
            continue
        scope = scope_of(part, cfg.get("default_scope"))
        kind = look_up(part.get("type"), registry.MODELS, scope)
        origin = getattr(kind, "__module__", "")
        if isinstance(part.get("num_classes"), int) and origin.startswith(PACKAGES):
            yield f"{key}.num_classes", part["num_classes"]


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


def other_folders(read: Contents) -> Iterator[str]:
    """Where the class folders of two data sets differ, so that their labels may.

    A label is the position of a folder in alphabetical order.
    """
    for data, content in read[1:]:
        first, theirs = read[0][1].names, content.names
        if theirs == first:
            continue
        places = {name.casefold(): label for label, name in enumerate(first)}
        shifted = [
            f"{name} is {label}, {first[places[name.casefold()]]} is {places[name.casefold()]}"
            for label, name in enumerate(theirs)
            if places.get(name.casefold(), label) != label
        ]
        only = [name for name in theirs if name not in first]
        lacking = [name for name in first if name not in theirs]
        differ = f"only in {data.folder}: {shortened(only, 10) or 'none'}"
        differ += f"; only in {read[0][0].folder}: {shortened(lacking, 10) or 'none'}"
        text = f"{data.key}: its class folders are not those of {read[0][0].key}: {differ}."
        if shifted:
            yield f"{text} So the same class has two labels: {shortened(shifted, 3)}"
        else:
            yield Remark(text)


def other_file(cfg: Config, loop: str, read: Contents) -> Iterator[str]:
    """Where a COCO metric compares with the annotations of other images or classes."""
    own = {data.file: content for data, content in read if data.reader == COCO and data.file}
    known = {file.resolve(): content for file, content in own.items()}
    for key, metric in metrics(cfg, loop):
        path = local(metric.get("ann_file"))
        if type_name(metric) != "CocoMetric" or not own or path is None or has_storage(metric):
            continue
        if not path.is_file() or set(known) == {path.resolve()}:
            continue
        content = known.get(path.resolve()) or Content()
        if not content.ids:
            read_coco(path, content)
            content.raw = None
        for data, theirs in read:
            if data.file in own and data.file.resolve() != path.resolve():
                yield from _differences(key, path, content, data, theirs)


def _differences(
    key: str, path: Path, content: Content, data: DataSet, theirs: Content
) -> Iterator[str]:
    problem, is_wrong = wrong_classes(path, content.names, data.classes or theirs.names)
    if is_wrong:
        yield f"{key}.ann_file: {problem}"
    strange = [name for number, name in theirs.ids.items() if number not in content.ids]
    others = [
        f"image {number} is {Path(name).name} in one, {Path(content.ids[number]).name} in the other"
        for number, name in theirs.ids.items()
        if number in content.ids and Path(content.ids[number]).name != Path(name).name
    ]
    cure = f"Write {key}.ann_file={data.file}"
    if ".datasets." in data.key:
        cure = (
            "A COCO metric is for one data set. For several: type='MultiDatasetsEvaluator' with a "
            "metric and a prefix for each"
        )
    reasons = others[:2] + ([f"it lacks {shortened(strange, 3)}"] if strange else [])
    text = f"{key}.ann_file: {path} is not the annotation file of {data.key}, {data.file}"
    if reasons:
        yield f"{text}: {'; '.join(reasons)}. {cure}"
    elif not is_wrong:
        images = f"{len(content.ids):,} and {len(theirs.ids):,} images"
        yield Remark(
            f"{text}: they have {images}. Objects that only one of them has count as wrong"
        )
