"""Completion in the shell, by argcomplete: ``eval "$(register-python-argcomplete mmres)"``."""

import argparse
from collections.abc import Iterable


def complete(names: Iterable[str], command: argparse.ArgumentParser | None = None) -> None:
    """Tell the shell what may follow on its command line, and end the program.

    Args:
        names: The commands of ``mmres``.
        command: The parser of the command that the line has, if it has one.
    """
    from argcomplete import autocomplete

    parser = argparse.ArgumentParser("mmres")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    for name in names:
        parents = [command] if command and command.prog == f"mmres {name}" else []
        commands.add_parser(name, parents=parents, add_help=not parents)
    autocomplete(parser)
