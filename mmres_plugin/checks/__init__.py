"""The checks before a run: say at once what would fail later or would go wrong unseen.

A finding is an error only where the run is certain to fail, or to learn something else than its
data says. All others are remarks: they are logged once, and the run goes on.

:mod:`.names` looks at the types and arguments in the config, :mod:`.data` at files and folders,
:mod:`.datasets` at what they hold, :mod:`.classes` at classes, :mod:`.model` and :mod:`.channels`
at the model, :mod:`.checkpoints` at what it starts from, :mod:`.settings` at what does nothing.
"""

import logging
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmengine.logging import print_log

from ..config import build_model, check_operators
from ..errors import UserError, collecting
from .channels import fill_channels, wrong_channels, wrong_strides
from .checkpoints import checkpoint_problems, pretrained_problems
from .classes import class_problems
from .data import missing_data, pickles
from .datasets import DataSet, data_sets, read_data
from .faults import Remark
from .model import model_problems
from .names import slips_in_model, unknown_names
from .settings import idle_settings, impossible_settings

__all__ = ["Remark", "check", "fill_channels", "find_problems", "loops_of"]

LOOPS = {"train": ("train", "val"), "test": ("test",)}
NEEDED = {
    "train": ("model", "train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("model", "test_dataloader", "test_cfg", "test_evaluator"),
}
VALIDATION = ("val_dataloader", "val_cfg", "val_evaluator")


def check(cfg: Config, task: str) -> None:
    """Raise one :class:`UserError` with everything that would make the run fail; log the remarks.

    Only what the task needs is checked: testing needs no training data.

    Args:
        cfg: The config as the runner will get it, ``load_from`` and ``resume`` included.
        task: ``'train'`` or ``'test'``.

    Raises:
        ValueError: For an unknown task.
        UserError: If there are problems.
    """
    problems = find_problems(cfg, task)
    remarks = [text for text in problems if isinstance(text, Remark)]
    for text in dict.fromkeys(remarks):
        print_log(text, logger="current", level=logging.WARNING)
    errors = [text for text in problems if not isinstance(text, Remark)]
    if errors:
        raise UserError(errors, "Nothing was started:")


def find_problems(cfg: Config, task: str, read: Sequence[DataSet] = ()) -> list[str]:
    """The errors and the remarks about one task of a config.

    Args:
        cfg: The config.
        task: ``'train'`` or ``'test'``.
        read: Data sets of the config that are read already; all others are read now.
    """
    check_operators(cfg)
    loops = loops_of(cfg, task)
    problems = [*incomplete(cfg, task), *unknown_names(cfg, loops), *pickles(cfg, loops)]
    missing = list(missing_data(cfg, loops))
    known = {data.key: data for data in read}
    sets = [known.get(data.key, data) for data in data_sets(cfg, loops)]
    for data in sets:
        if data.is_judged and not data.is_read and not missing:
            read_data(data)
    problems += missing
    problems += [text for data in sets for text in data.problems]
    problems += class_problems(cfg, sets)
    model = None
    try:
        model = build_model(cfg)
    except UserError as error:
        slips = slips_in_model(cfg.model, cfg.get("default_scope"), str(error.__cause__))
        problems += list(slips) or error.problems
    if model is not None and task == "train":
        problems += pretrained_problems(cfg, model)
        problems += model_problems(cfg, model)
        problems += wrong_channels(cfg, model) or wrong_strides(model)
    if task == "train":
        problems += [*impossible_settings(cfg, sets), *idle_settings(cfg, model)]
    with collecting(problems):
        problems += checkpoint_problems(cfg, task, model)
    return problems


def loops_of(cfg: Config, task: str) -> tuple[str, ...]:
    """The loops of a task that the config has.

    Raises:
        ValueError: For an unknown task.
    """
    if task not in LOOPS:
        raise ValueError(f"task is {task!r}, must be one of {', '.join(map(repr, LOOPS))}")
    return tuple(loop for loop in LOOPS[task] if cfg.get(f"{loop}_dataloader") is not None)


def incomplete(cfg: Config, task: str) -> Iterator[str]:
    """A problem for each key of the config without which the task cannot run."""
    needed = NEEDED[task]
    if task == "train" and any(cfg.get(key) is not None for key in VALIDATION):
        needed = (*needed, *VALIDATION)
    for key in needed:
        if cfg.get(key) is None:
            yield f"the config has no '{key}', which is needed to {task}."
