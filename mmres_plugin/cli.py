"""The command ``mmres``: ``mmres X`` calls ``main`` of ``commands/X.py``.

Commands import torch and the OpenMMLab packages after their arguments are parsed, so help and the
message for a misspelt option come at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from .completion import complete
from .errors import UserError, did_you_mean
from .version import __version__

COMMANDS = {
    "train": "train a classifier or a detector",
    "test": "evaluate a checkpoint or an exported file",
    "predict": "predict on images and videos, draw what was found",
    "new": "write a config for your own data",
    "check": "check a config and its data before training",
    "info": "versions for a bug report; models with their cost and weights",
    "convert": "convert other projects' weights",
    "publish": "make a checkpoint ready to publish",
    "push": "upload a model to the Hugging Face Hub",
    "export": "export a model to ONNX",
    "compare": "train several backbones alike and compare them",
    "maps": "draw feature maps, and where a model looks",
    "cost": "count parameters and multiply-accumulates",
    "speed": "measure the speed and memory of backbones",
    "digits": "draw a small data set of digits or shapes",
}
# Commands of 0.1, and what does their job now.
GONE = {
    "fold": "export folds batch norms, and mmres_plugin.deploy.fold_norms(load_model(…)) does in "
    "Python",
    "run": "mim train mmdet …, or the package's own tools with custom_imports in the config",
    "shapes": "mmres digits --shapes",
    "test-exported": "mmres test CONFIG FILE.onnx",
}
# The shell asks what may follow on its command line.
COMPLETING = "_ARGCOMPLETE" in os.environ


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults, suggests names and prepares the process.

    Args:
        description: The first paragraphs of the help, the docstring of the command's module.
    """

    def __init__(self, description: str | None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _Help)
        super().__init__(description=description, allow_abbrev=False, **kwargs)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Parse the command line; an error ends the program with exit code 2.

        Once all is right, the plugin is registered and checkpoints are read safely.
        """
        if COMPLETING:
            complete(COMMANDS, self)
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            known = [option for action in self._actions for option in action.option_strings]
            pair = " Settings follow --cfg-options directly." if "=" in rest[0] else ""
            self.error(f"there is no option {rest[0]}.{did_you_mean(rest[0], known)}{pair}")
        from . import register

        register()
        from .weights.safe_loading import load_safely

        load_safely()
        return parsed


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written; defaults behind the options that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, []) or isinstance(action.default, bool):
            return action.help
        if isinstance(action.default, (list, tuple)):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the command line names, and end the program.

    Args:
        argv: The words after ``mmres``; by default those of the process.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore  # names need not be UTF-8
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if COMPLETING:
        name = next(iter(os.environ["COMP_LINE"].split()[1:]), "")
        if name not in COMMANDS:
            complete(COMMANDS)
    if name in ("-h", "--help"):
        print(overview())
        sys.exit(0)
    if name == "--version":
        print(f"mmres_plugin {__version__}")
        sys.exit(0)
    if name in GONE:
        sys.exit(fail(f"'mmres {name}' is gone. Instead: {GONE[name]}"))
    if name not in COMMANDS:
        meant = did_you_mean(name, COMMANDS)
        sys.exit(fail(f"there is no command '{name}'.{meant}\n\n{overview()}"))
    try:
        sys.exit(import_module(f".commands.{name}", __package__).main(rest))
    except (UserError, ImportError) as error:
        if isinstance(error, ImportError) and "mmres_plugin" not in str(error):
            raise
        sys.exit(fail(str(error)))


def overview() -> str:
    """The list of commands, for the screen."""
    lines = [f"  {name:10}{what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: mmres COMMAND …   (mmres COMMAND --help for its options)", *lines])


def fail(message: str) -> int:
    """Print the message of a mistake that the user can mend; returns the exit code."""
    print(f"mmres: {message}", file=sys.stderr)
    return 2
