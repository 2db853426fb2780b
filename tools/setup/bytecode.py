"""Bytecode: an environment starts with what Python compiled for the last one.

uv links the packages' files from its cache, so their times are those of the last environment. By
time and size Python knows whether bytecode is still right, and compiles what is not.
"""

import os
import tarfile
import tempfile
from pathlib import Path

from command import PYTHON, SetupError, cache


def archive() -> Path:
    """Where the bytecode is kept."""
    return cache() / f"bytecode-{PYTHON}.tar"


def restore(env) -> None:
    """Put the kept bytecode, if there is any, into an Environment."""
    if not archive().exists():
        return
    with env.writing():
        try:
            with tarfile.open(archive()) as tar:
                fitting = [one for one in tar if source(env.path / one.name).exists()]
                tar.extractall(env.path, fitting)
        except tarfile.TarError as error:
            archive().unlink()
            raise SetupError(
                f"{archive()} was damaged ({error}) and is now removed. Run the same command again."
            ) from error


def source(bytecode: Path) -> Path:
    """The source of a file of bytecode. Without it, the folder would pass for a package."""
    return bytecode.parents[1] / f"{bytecode.name.partition('.')[0]}.py"


def keep(env) -> None:
    """Keep the bytecode of an Environment for the next one, if there is any that is not kept."""
    files = list(env.path.glob("lib/python*/site-packages/**/*.pyc"))
    kept = archive().stat().st_mtime if archive().exists() else 0
    if all(path.stat().st_mtime <= kept for path in files):
        return
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        new = Path(folder, "new.tar")
        with tarfile.open(new, "w") as tar:
            for path in files:
                tar.add(path, path.relative_to(env.path))
        os.replace(new, archive())
