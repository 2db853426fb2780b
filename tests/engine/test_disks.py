"""Real disks that are full or read-only, under a training that a user starts."""

import shutil
import sys

import pytest
from helpers import ENV, ROOT, complete, run
from helpers.configs import NARROW, classifier_config
from helpers.data import make_imagenet

# A disk of 5 MB of its own, for this process and its children alone.
DISK = "mount -t tmpfs -o size=5m tmpfs disk && "
TRAIN = f"{sys.executable} {ROOT}/tools/train.py cls.py --work-dir disk/run"


def own_disks() -> bool:
    return bool(shutil.which("unshare")) and not complete("unshare", "-rm", "true").returncode


@pytest.fixture
def home(tmp_path):
    if not own_disks():
        pytest.skip("mounting a disk of its own needs Linux and user namespaces")
    more = f"{NARROW}train_cfg = dict(max_epochs=4)\n"
    classifier_config(tmp_path / "cls.py", make_imagenet(tmp_path / "imagenet"), more)
    (tmp_path / "disk").mkdir()
    return tmp_path


def script(home, text: str) -> str:
    return run("unshare", "-rm", "bash", "-c", DISK + text, cwd=home, env=ENV)


@pytest.mark.slow
def test_full_disk(home):
    """Checkpoints of 1.5 MB until the disk is full; then room is made, and the training goes on."""
    said = script(
        home,
        f"{TRAIN}; echo code $?; ls -A disk/run; cat disk/run/last_checkpoint; echo;"
        f"rm disk/run/epoch_[12].pth; {TRAIN} --resume",
    )
    assert "epoch_4.pth (2 MB) cannot be written: No space left on device." in said
    assert "code 2" in said
    assert "disk/run/epoch_3.pth\n" in said.partition("code 2")[2]
    assert "Traceback" not in said and "Logging error" not in said
    assert ".tmp" not in said.partition("code 2")[2]
    assert "continuing from disk/run/epoch_3.pth" in said
    assert "Saving checkpoint at 4 epochs" in said.partition("continuing from")[2]


@pytest.mark.slow
def test_disk_without_writing(home):
    said = script(home, f"mount -o remount,ro disk; {TRAIN}; echo code $?")
    assert "cannot be written: Read-only file system. Files saved earlier are intact" in said
    assert "code 2" in said
    assert "Traceback" not in said
