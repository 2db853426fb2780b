"""A screen that shows the training: what is hidden here by name is in the log file."""

import logging
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

HIDDEN = (
    "\n" + "-" * 60 + "\nSystem environment:",
    "Config:\n",
    "Hooks will be executed in the following order:\n",
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "paramwise_options -- ",
)
WARNINGS = ("faster_coco_eval is not installed", "torch.meshgrid")


class QuietRunner(Runner):
    """MMEngine's runner, with a console that leaves out records that start with a text here."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(lambda record: not record.getMessage().startswith(HIDDEN))
        return logger


def hide_noise(scope: str | None) -> None:
    """Import the data sets of ``scope`` and hide what other packages say there about themselves."""
    for text in WARNINGS:
        warnings.filterwarnings("ignore", message=text)
    if scope in ("mmpretrain", "mmdet"):
        with redirect_stdout(StringIO()) as said:
            import_module(f"{scope}.datasets")
        for line in said.getvalue().splitlines():
            if "Could not import OneDL" not in line:
                print(line)
