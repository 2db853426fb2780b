"""One training in a work dir at a time; what a dead one has left is no obstacle."""

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import filelock
import pytest

from mmres_plugin.engine import work_dir as module
from mmres_plugin.engine.work_dir import NAME, only_training
from mmres_plugin.errors import UserError


def hold(folder: Path, held) -> None:
    with only_training(folder):
        held.set()
        time.sleep(60)


@pytest.fixture
def other(tmp_path):
    """Another process that trains in ``tmp_path``."""
    context = multiprocessing.get_context("fork")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, held))
    process.start()
    assert held.wait(20)
    yield process
    process.kill()
    process.join()


def test_second_training_is_told_who_holds_it(tmp_path, other):
    with pytest.raises(UserError) as error, only_training(tmp_path):
        pass
    assert f"process {other.pid} on {socket.gethostname()}, seen 20" in str(error.value)
    assert f"a training is in {tmp_path} already" in str(error.value)


def test_dead_training_is_no_obstacle(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    start = time.monotonic()
    with only_training(tmp_path):
        assert f"pid={os.getpid()}" in (tmp_path / NAME).read_text()
    assert time.monotonic() - start < 2
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("alive", [True, False])
def test_other_machines_are_watched(tmp_path, monkeypatch, alive):
    """A lock of another machine is held as long as somebody touches it."""
    monkeypatch.setattr(module, "SILENCE", 0.6)
    lock = filelock.SoftFileLease(tmp_path / NAME, lease_duration=0.6)
    lock.acquire()
    theirs = (tmp_path / NAME).read_text().replace(f"host={socket.gethostname()}", "host=node7")
    (tmp_path / NAME).write_text(theirs)
    if alive:
        with pytest.raises(UserError, match="on node7"), only_training(tmp_path):
            pass
        lock.release(force=True)
    else:
        lock.release(force=True)
        (tmp_path / NAME).write_text(theirs)
        with only_training(tmp_path):
            assert "node7" not in (tmp_path / NAME).read_text()


def test_first_process_locks_for_all(tmp_path, other, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with only_training(tmp_path):
        pass


def test_work_dir_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=f"{path} cannot be written"), only_training(path):
            pass
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(UserError, match="name too long"), only_training(tmp_path / ("x" * 300)):
        pass


@pytest.mark.parametrize("kind", ["folder", "FIFO", "loop", "old"])
def test_odd_locks(tmp_path, kind):
    """A sentence for what no training has left; the empty file of version 0.1 is no obstacle."""
    path = tmp_path / NAME
    {
        "folder": path.mkdir,
        "FIFO": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "old": lambda: path.write_text(""),
    }[kind]()
    if kind == "old":
        with only_training(tmp_path):
            return
    with pytest.raises(UserError, match="is not a file, but the lock"), only_training(tmp_path):
        pass
