"""The checks before a run: report at once everything that would fail later.

:mod:`.names` looks at the types and arguments in the config, :mod:`.data` at files and folders,
:mod:`.labels` at classes, :mod:`.model` and :mod:`.channels` at the model, :mod:`.checkpoints` at
what it starts from.
"""

from collections.abc import Iterator

from mmengine.config import Config

from ..errors import UserError, collecting
from .channels import fill_channels, wrong_channels
from .checkpoints import checkpoint_problems, pretrained_problems
from .data import missing_data
from .model import build_model, check_operators, model_problems
from .names import unknown_names

__all__ = ["build_model", "check", "fill_channels"]

LOOPS = {"train": ("train", "val"), "test": ("test",)}
NEEDED = {
    "train": ("model", "train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("model", "test_dataloader", "test_cfg", "test_evaluator"),
}
VALIDATION = ("val_dataloader", "val_cfg", "val_evaluator")


def check(cfg: Config, task: str) -> None:
    """Raise one :class:`UserError` with everything that would make the run fail.

    Only what the task needs is checked: testing needs no training data. If a training run passes,
    it is rehearsed; a problem found then comes alone.

    Args:
        cfg: The config as the runner will get it, ``load_from`` and ``resume`` included.
        task: ``'train'`` or ``'test'``.

    Returns:
        The data sets of the rehearsal, for :func:`~mmres_plugin.engine.command_line.build_runner`.

    Raises:
        ValueError: For an unknown task.
        UserError: If there are problems.
    """
    if task not in LOOPS:
        raise ValueError(f"task is {task!r}, must be one of {', '.join(map(repr, LOOPS))}")
    check_operators(cfg)
    loops = tuple(loop for loop in LOOPS[task] if cfg.get(f"{loop}_dataloader") is not None)
    problems = [
        *incomplete(cfg, task),
        *unknown_names(cfg, loops),
        *missing_data(cfg, loops),
    ]
    model = None
    with collecting(problems):
        model = build_model(cfg)
    if model is not None and task == "train":
        problems += pretrained_problems(cfg, model)
        problems += model_problems(cfg, model)
        problems += wrong_channels(cfg, model)
    with collecting(problems):
        problems += checkpoint_problems(cfg, task, model)
    if problems:
        raise UserError(problems, "Nothing was started:")


def incomplete(cfg: Config, task: str) -> Iterator[str]:
    """A problem for each key of the config without which the task cannot run."""
    needed = NEEDED[task]
    if task == "train" and any(cfg.get(key) is not None for key in VALIDATION):
        needed = (*needed, *VALIDATION)
    for key in needed:
        if cfg.get(key) is None:
            yield f"the config has no '{key}', which is needed to {task}."
