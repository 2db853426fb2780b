"""The data sets, built once for the checks, the rehearsal and the run."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from ..data_check import inspected_annotations
from ..errors import collecting
from .places import locating_errors


class Built:
    """Stands for a data set in a config. The runner copies its config, and gets the data set."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __deepcopy__(self, memo: dict) -> Any:
        return self.dataset


def build_datasets(cfg: Config, loops: Iterable[str], problems: list[str]) -> dict[str, Built]:
    """The data sets of ``loops``, for the checks and the run: a large one takes its time.

    Why one cannot be built is added to ``problems``.
    """
    datasets, scope = {}, cfg.get("default_scope")
    for loop in loops:
        place = f"{loop}_dataloader.dataset"
        with collecting(problems, f"{place}: "), DefaultScope.overwrite_default_scope(scope):
            with locating_errors(cfg, loop), inspected_annotations(), no_garbage_collection():
                dataset = DATASETS.build(deepcopy(cfg[f"{loop}_dataloader"].dataset))
                if hasattr(dataset, "full_init"):
                    dataset.full_init()
            datasets[loop] = Built(dataset)
    return datasets


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python from searching for cycles, again and again, among a million new objects.

    COCO's training annotations are read in two thirds of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
