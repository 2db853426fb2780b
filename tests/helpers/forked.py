"""The command ``mmres`` in processes of their own that start at once.

A server imports the packages once and forks every process, which saves the 6 seconds that a fresh
interpreter needs for the imports.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path

PACKAGES = ["mmres_plugin.checks", "mmres_plugin.deploy", "mmdet.apis", "mmpretrain.apis"]


def forkserver() -> BaseContext:
    """The context whose processes are forked from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PACKAGES)
    return context


class Forked:
    """A process that runs ``mmres`` with these arguments.

    Args:
        args: The words after ``mmres``.
        out: The file for what it prints.
        err: The file for its errors; without one, they go to ``out`` too.
        cwd: The folder in which it runs.
        prepare: Called in the process before the command.
    """

    def __init__(
        self,
        args: tuple,
        out: Path,
        err: Path | None = None,
        cwd: Path | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        words, folder = [*map(str, args)], str(cwd or Path.cwd())
        files = (str(out), str(err) if err else None)
        self.process = forkserver().Process(target=_run, args=(words, *files, folder, prepare))
        self.process.start()

    def end(self, seconds: float = 600) -> int | None:
        """Its exit code, negative for a signal, or None if it still runs after these seconds."""
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()


def _run(
    words: list[str],
    out: str,
    err: str | None,
    folder: str,
    prepare: Callable[[], None] | None,
) -> None:
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(out, new), 1)
    os.dup2(os.open(err, new) if err else 1, 2)
    os.chdir(folder)
    if prepare:
        prepare()
    from mmres_plugin.cli import main

    sys.argv = ["mmres", *words]
    main(words)
