"""Write files whole, and explain in one sentence why a disk refuses them."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from ..errors import UserError
from ..weights.files import atomic_write

BACKEND = "whole_files"
# Errors of the place where a training writes, also where they name no file.
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
OF_WRITING += (errno.ENAMETOOLONG,)
LEFTOVER = re.compile(r"\.(.+\.pth|last_checkpoint)\.\d+\.tmp")  # names that atomic_write makes


class WholeFiles(LocalBackend):
    """MMEngine's local storage, in which a file is there whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write to another name in the same folder, flush, and rename.

        Raises:
            UserError: If the file cannot be written. One that had the name is as it was.
        """
        try:
            with atomic_write(filepath) as temporary:
                temporary.write_bytes(obj)
        except OSError as error:
            raise refusal(f"{filepath} ({len(obj) / 1e6:.0f} MB)", error) from error


register_backend(BACKEND, WholeFiles, force=True)  # again when the module is reloaded


def refusal(what: str | Path, error: OSError) -> UserError:
    """The error for ``what``, a file or folder that cannot be written."""
    return UserError(
        f"{what} cannot be written: {error.strerror or error}. Files saved earlier are intact. "
        "Make room, raise the limit (`ulimit -f`) or choose another --work-dir; then run the "
        "command with --resume.",
        "Stopped:",
    )


@contextmanager
def storage_errors(folder: str | Path) -> Iterator[None]:
    """Turn errors of the disk under ``folder``, where a training writes, into one sentence.

    Raises:
        UserError: For errors that name the folder, a file in it or a folder above it, and for those
            of writing that name none; any other passes.
    """
    try:
        yield
    except OSError as error:
        place = Path(folder).absolute()
        if isinstance(error.filename, str | bytes):
            named = Path(os.fsdecode(error.filename)).absolute()
            ours = place in (named, *named.parents) or named in place.parents
        else:
            ours = error.errno in OF_WRITING
        if not ours:
            raise
        raise refusal(str(error.filename or folder), error) from error


def remove_leftovers(folder: str | Path) -> None:
    """Remove the unfinished files of a killed training in ``folder``, which is locked."""
    for path in Path(folder).iterdir():
        if LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink()
