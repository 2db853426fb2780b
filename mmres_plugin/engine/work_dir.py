"""One training run at a time in a folder.

The lock is a file that the training touches every few seconds. The one that a dead training left is
taken over: on the same machine at once, on another when nobody has touched it for a while.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from ..errors import UserError
from .processes import is_first
from .storage import storage_errors

NAME = ".training_lock"
SILENCE = 15.0  # seconds without a touch, after which a training on another machine is dead


@contextmanager
def only_training(folder: str | Path) -> Iterator[None]:
    """Keep other trainings out of ``folder``, which is made if it is missing.

    Of several processes, the first does this for all.

    Raises:
        UserError: If another training is in it, or nothing can be written to it.
    """
    if not is_first():
        yield
        return
    path = Path(folder) / NAME
    with storage_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise UserError(f"{path} is not a file, but the lock of a training is: move it away.")
        if path.is_file() and not path.stat().st_size:
            path.unlink()  # what version 0.1 leaves behind
        lock = SoftFileLease(path, lease_duration=SILENCE, poll_interval=SILENCE / 10)
        _acquire(lock, folder)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: SoftFileLease, folder: str | Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = lock.owner
        if owner is None or owner.hostname != os.uname().nodename:
            # A training on another machine, of which only its silence can tell that it is dead.
            print(f"waiting {SILENCE:.0f} s: a training on another machine may be in {folder}")
            try:
                lock.acquire(timeout=SILENCE * 1.3)
                return
            except Timeout:
                owner = lock.owner
        since = time.strftime("%F %T", time.localtime(os.stat(lock.lock_file).st_mtime))
        who = f"process {owner.pid} on {owner.hostname}, seen {since}" if owner else "another"
        raise UserError(
            f"a training is in {folder} already ({who}). Choose another --work-dir, or end "
            "that one."
        ) from None
