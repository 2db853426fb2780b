"""Only one training run at a time in a work dir.

The kernel releases the lock when the process ends, however it ends: a crash leaves nothing to clean
up. But on some network file systems locks do not reach other machines, or do not exist. So the
holder also touches the file every few seconds, and a run that finds the name of another machine in
it first checks whether the file is still being touched.
"""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import UserError
from .launchers import is_first
from .storage import storage_errors

NAME = ".training_lock"
BEAT = 5.0  # seconds between two touches of the file
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def only_training(work_dir: str | Path) -> Iterator[None]:
    """Keep other trainings out of ``work_dir``, which is made if it is missing.

    Of several processes, the first does this for all.

    Raises:
        UserError: If another training is in it, or nothing can be written to it.
    """
    if not is_first():
        yield
        return
    path = Path(work_dir) / NAME
    with storage_errors(work_dir):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    over = threading.Event()
    with file:
        locked = _lock(file)
        holder = _holder(file)
        on_another_host = holder.get("host") != socket.gethostname()
        if locked is False or (holder and (on_another_host or not locked) and _is_touched(path)):
            raise UserError([_refusal(work_dir, holder)])
        with storage_errors(path):
            _write(file, host=socket.gethostname(), pid=os.getpid(), since=time.strftime("%F %T"))
        threading.Thread(target=_touch, args=(path, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            _write(file)


def _lock(file: IO) -> bool | None:
    """Whether the lock is ours; None where the file system has no locks."""
    try:
        # Not flock, which a worker process would inherit and keep for a while after a kill. This
        # one ends when the process closes the file, however often it is open: open it only once.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        return None if error.errno in NO_LOCKS else False


def _holder(file: IO) -> dict:
    """Who has written into the file; empty if its training has ended in order."""
    file.seek(0)
    try:
        return dict(json.loads(file.read()))
    except ValueError:
        return {}


def _write(file: IO, **holder: object) -> None:
    file.truncate(0)
    file.write(json.dumps(holder) if holder else "")
    file.flush()


def _touch(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT) and path.exists():
        os.utime(path)


def _is_touched(path: Path) -> bool:
    """Whether somebody touches the file; clocks of machines differ, so it is watched."""
    before = path.stat().st_mtime_ns
    end = time.monotonic() + 2.5 * BEAT
    while time.monotonic() < end:
        time.sleep(BEAT / 10)
        if path.stat().st_mtime_ns != before:
            return True
    return False


def _refusal(work_dir: str | Path, holder: dict) -> str:
    who = "another process"
    if holder:
        who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    return (
        f"a training is in {work_dir} already ({who}). Choose another --work-dir, or end that one."
    )
