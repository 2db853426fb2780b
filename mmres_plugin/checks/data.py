"""Is the data where the config says it is?"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..config_parts import type_name
from ..errors import did_you_mean
from .datasets import DataSet, Needed, has_storage, local
from .faults import Remark
from .setup import Part

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


def missing_data(sets: Iterable[DataSet], metrics: Iterable[Part] = ()) -> Iterator[str]:
    """One problem per folder or file that is not there, then how to get them.

    Of a data set whose root is missing, only the root is named. What data sets of unknown types may
    read in another way is a remark.
    """
    missing: dict[Path, tuple[str, list[Needed]]] = {}
    hints: dict[str, None] = {}
    for needed, hint in [*of_data_sets(sets), *of_metrics(metrics)]:
        if problem := path_problem(needed):
            missing.setdefault(needed.path.absolute(), (problem, []))[1].append(needed)
            hints.update({hint: None} if needed.is_certain else {})
    for path, (problem, some) in missing.items():
        near = path.parent.iterdir() if path.parent.is_dir() and not path.exists() else ()
        meant = did_you_mean(path.name, [other.name for other in near])
        keys = ", ".join(needed.key for needed in some)
        text = f"{problem}: {path}{meant and '.' + meant}\n(needed by {keys})"
        yield text if some[0].is_certain else Remark(text)
    yield from (hint for hint in hints if hint)


def of_data_sets(sets: Iterable[DataSet]) -> Iterator[tuple[Needed, str]]:
    """What the data sets read, each with how to get it."""
    for data in sets:
        for needed in data.paths:
            yield needed, where_it_belongs(data, needed)


def of_metrics(metrics: Iterable[Part]) -> Iterator[tuple[Needed, str]]:
    """The annotation files that metrics read; those of the data sets say how to get them."""
    for metric in metrics:
        path = local(metric.settings.get("ann_file"))
        if path and not has_storage(metric.settings):
            is_certain = type_name(metric.settings) == "CocoMetric"
            yield Needed(f"{metric.key}.ann_file", path, "file", is_certain), ""


def pickles(sets: Iterable[DataSet]) -> Iterator[Remark]:
    """A remark for each file of a data set that MMEngine will unpickle."""
    for data in sets:
        for name in ("ann_file", "proposal_file"):
            path = data.settings.get(name)
            if str(path).endswith((".pkl", ".pickle")):
                yield Remark(
                    f"{data.key}.{name}: {path} is a pickle, and reading one runs what is in it. "
                    "Stop here unless you made it or trust its authors"
                )


def path_problem(needed: Needed) -> str | None:
    """What is wrong with a path, or None."""
    path, what = needed.path, needed.what
    if not path.exists():
        return f"there is no {what}"
    if not (path.is_file() if what == "file" else path.is_dir()):
        return f"this is no {what}"
    empty = path.stat().st_size == 0 if what == "file" else next(path.iterdir(), None) is None
    return f"this {what} is empty" if empty else None


def where_it_belongs(data: DataSet, needed: Needed) -> str:
    """How to get what a data set needs; may be empty."""
    root = str(data.settings.get("data_root") or "data").rstrip("/")
    kind = type_name(data.settings)
    if "digits" in Path(root).parts:
        return DIGITS
    layout = LAYOUTS.get(kind, OTHER)
    is_root = needed.key.endswith(".data_root")
    name = Path(str(data.settings.get("ann_file"))).name if is_root else needed.path.name
    # Somebody's own data in COCO's format: where COCO belongs is no answer to it.
    if kind == "CocoDataset" and name not in layout:
        layout = OTHER if is_root else ""
    return layout.format(root=root, key=f"{data.key}.data_root")
