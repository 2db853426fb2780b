"""Write files whole, and explain in one sentence why a disk refuses them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from ..errors import UserError
from ..weights.files import atomic_write

BACKEND = "whole_files"
# What can be wrong with the place where a training writes, and what to do.
REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "your quota is used up: make room, or choose another --work-dir",
    errno.EFBIG: "the shell limits the size of files: raise `ulimit -f`",
    errno.EROFS: "choose another --work-dir",
    errno.EACCES: "choose a --work-dir in which you may write, or change its permissions",
    errno.EPERM: "choose a --work-dir in which you may write, or change its permissions",
    errno.EEXIST: "choose another --work-dir",
    errno.ENOTDIR: "choose another --work-dir",
}


class WholeFiles(LocalBackend):
    """MMEngine's local storage, in which a file is there whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write to another name in the same folder, flush, and rename.

        Raises:
            UserError: If the file cannot be written. One that had the name is as it was.
        """
        with storage_errors(filepath, len(obj)), atomic_write(filepath) as temporary:
            temporary.write_bytes(obj)


register_backend(BACKEND, WholeFiles, force=True)  # again when the module is reloaded


@contextmanager
def storage_errors(path: str | Path, size: int = 0) -> Iterator[None]:
    """Turn the errors of a disk, a quota or permissions into one sentence.

    Args:
        path: What is written, or the folder in which files are.
        size: The number of bytes needed, if it is known.

    Raises:
        UserError: For these errors; any other passes.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDIES or not _is_about(error, Path(path)):
            raise
        need = f" ({size / 1e6:.0f} MB)" if size else ""
        raise UserError(
            [
                f"{path}{need} cannot be written: {error.strerror}. Files saved earlier are "
                f"intact. To continue, {REMEDIES[error.errno]}, then run the command with --resume."
            ],
            "Stopped:",
        ) from error


def _is_about(error: OSError, path: Path) -> bool:
    """Whether the error, if it names a file, names one of the same folder."""
    if not error.filename:
        return True
    folder = (path if path.is_dir() else path.parent).absolute()
    named = Path(os.fsdecode(error.filename)).absolute()
    return folder in (named, *named.parents) or named in folder.parents


def room_problem(folder: str | Path, needed: int) -> str | None:
    """A sentence if ``folder`` has no room for ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return (
        f"{folder} has {free / 1e6:.0f} MB left. A checkpoint is written before an older one is "
        f"deleted, and two of them take about {needed / 1e6:.0f} MB: make room, or choose another "
        "--work-dir"
    )


def remove_leftovers(folder: str | Path) -> None:
    """Remove the unfinished files of a killed training in ``folder``, which nobody else uses."""
    for path in Path(folder).glob(".*.tmp"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
