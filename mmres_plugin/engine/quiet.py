"""A screen that shows the training: what is hidden here by name is in the log file."""

import logging
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..errors import UserError

HIDDEN = (
    "\n" + "-" * 60 + "\nSystem environment:",
    "Config:\n",
    "Hooks will be executed in the following order:\n",
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "paramwise_options -- ",
)
WARNINGS = ("faster_coco_eval is not installed", "torch.meshgrid", ".*treespec, LeafSpec")


class QuietRunner(Runner):
    """MMEngine's runner, with a console that leaves out records that start with a text here."""

    def build_logger(self, log_level: int | str = "INFO", *args: Any, **kwargs: Any) -> MMLogger:
        if isinstance(log_level, str) and isinstance(logging.getLevelName(log_level), str):
            allowed = "DEBUG, INFO, WARNING, ERROR or CRITICAL"
            raise UserError(f"log_level is {log_level!r}, must be {allowed}")
        logger = super().build_logger(log_level, *args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(lambda record: not record.getMessage().startswith(HIDDEN))
        return logger


def hide_noise(*scopes: str | None) -> None:
    """Import the data sets of these packages and hide what others say there about themselves."""
    for text in WARNINGS:
        warnings.filterwarnings("ignore", message=text)
    for scope in {"mmpretrain", "mmdet"}.intersection(scopes):
        with redirect_stdout(StringIO()) as said:
            import_module(f"{scope}.datasets")
        for line in said.getvalue().splitlines():
            if "Could not import OneDL" not in line:
                print(line)
