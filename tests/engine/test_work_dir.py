"""One training in a work dir at a time; what a dead one has left is no obstacle."""

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

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
    assert f"process {other.pid} on {socket.gethostname()}, since 20" in str(error.value)
    assert f"a training is in {tmp_path} already" in str(error.value)


def test_dead_training_is_no_obstacle(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    start = time.monotonic()
    with only_training(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert time.monotonic() - start < 2
    assert (tmp_path / NAME).read_text() == ""


def test_other_machines_are_watched(tmp_path, monkeypatch):
    """Where locks do not reach, a file that somebody touches is held, and another is not."""
    monkeypatch.setattr(module, "BEAT", 0.1)
    path = tmp_path / NAME
    theirs = json.dumps({"host": "node7", "pid": 11, "since": "2026-01-01 00:00:00"})
    path.write_text(theirs)
    over = threading.Event()
    threading.Thread(target=module._touch, args=(path, over), daemon=True).start()
    with pytest.raises(UserError, match="process 11 on node7"), only_training(tmp_path):
        pass
    assert path.read_text() == theirs
    over.set()
    time.sleep(0.2)
    with only_training(tmp_path):
        before = path.stat().st_mtime_ns
        time.sleep(0.3)
        assert path.stat().st_mtime_ns > before


def test_no_locks_at_all(tmp_path, monkeypatch):
    """As on some network file systems: then the touches decide on this machine too."""
    monkeypatch.setattr(module, "BEAT", 0.1)
    monkeypatch.setattr(module, "_lock", lambda file: None)
    held = only_training(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()}")
    with held[0], held[1], only_training(tmp_path):
        pass
    with only_training(tmp_path):
        pass


def test_first_process_locks_for_all(tmp_path, other, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with only_training(tmp_path):
        pass


def test_work_dir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=f"{path} cannot be written"), only_training(path):
            pass
    assert (tmp_path / "file").read_text() == "mine"
