"""The checks before a run: say at once what would fail later or would go wrong unseen.

A finding is an error only where the run is certain to fail, or to learn something else than its
data says. All others are remarks: they are logged once, and the run goes on.

:mod:`.setup` reads the config once. Of what it found, :mod:`.names` looks at types and arguments,
:mod:`.data` at files and folders, :mod:`.contents` at what they hold, :mod:`.classes` at classes,
:mod:`.model` and :mod:`.channels` at the model, :mod:`.checkpoints` at what it starts from,
:mod:`.settings` at what does nothing.
"""

import logging

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import UserError, collecting
from .channels import fill_channels, wrong_channels, wrong_strides
from .checkpoints import checkpoint_problems, pretrained_problems
from .classes import class_problems
from .contents import read_data
from .data import missing_data, pickles
from .faults import Remark
from .model import model_problems
from .names import slips_in_model, unknown_names
from .settings import idle_settings, impossible_settings
from .setup import Setup

__all__ = ["Remark", "Setup", "check", "fill_channels", "find_problems"]


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
    setup = Setup(cfg, task)
    problems = find_problems(setup)
    remarks = [text for text in problems if isinstance(text, Remark)]
    for text in dict.fromkeys(remarks):
        print_log(text, logger="current", level=logging.WARNING)
    errors = [text for text in problems if not isinstance(text, Remark)]
    if errors:
        raise UserError(errors, "Nothing was started:")


def find_problems(setup: Setup) -> list[str]:
    """The errors and the remarks about one task of a config; data that is not read yet is read."""
    problems = [
        f"the config has no '{key}', which is needed to {setup.task}." for key in setup.lacking
    ]
    missing = list(missing_data(setup.sets, setup.metrics))
    problems += [*unknown_names(setup), *pickles(setup.sets), *missing]
    for data in setup.sets:
        if data.is_judged and not data.is_read and not missing:
            read_data(data)
        problems += data.problems
    problems += class_problems(setup)
    model = None
    try:
        model = setup.model
    except UserError as error:
        slips = slips_in_model(setup.model_parts, str(error.__cause__))
        problems += list(slips) or error.problems
    if model is not None and setup.task == "train":
        problems += pretrained_problems(setup, model)
        problems += model_problems(setup, model)
        problems += wrong_channels(setup.section("model"), model) or wrong_strides(model)
    if setup.task == "train":
        problems += [*impossible_settings(setup), *idle_settings(setup, model)]
    with collecting(problems):
        problems += checkpoint_problems(setup, model)
    return problems
