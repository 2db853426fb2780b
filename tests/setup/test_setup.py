"""tools/setup.py: what it refuses, where its packages are from, and a set-up for real."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

SCRIPT = ROOT / "tools/setup.py"


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The script as a module, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("set_up", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stopped(setup, venv: Path) -> str:
    """The sentence with which the set-up of this folder stops."""
    with pytest.raises(SystemExit) as end:
        setup.main(venv)
    assert str(end.value).startswith("\nset-up stopped: ")
    return str(end.value)


@pytest.mark.parametrize("stamp", [None, "/another/checkout\n3.11"])
def test_environments_of_others_are_left_alone(setup, tmp_path, stamp):
    venv = tmp_path / "theirs"
    venv.mkdir()
    if stamp:
        Path(f"{venv}.lock").write_text(stamp)
    assert "was not made here by make setup" in stopped(setup, venv)
    assert not list(venv.iterdir()) and Path(f"{venv}.lock").exists() == bool(stamp)


def test_what_is_missing_is_said_first(setup, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(setup, "PYTHON", "3.9")
        assert "Python 3.9 does not do. Name 3.10, 3.11 or 3.12" in stopped(setup, tmp_path / "v")
    with monkeypatch.context() as patch:
        patch.setattr(setup.sysconfig, "get_paths", lambda: {"include": "/none"})
        assert "Python's headers are missing" in stopped(setup, tmp_path / "v")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "there is no C++ compiler" in stopped(setup, tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_an_index_that_cannot_be_reached(setup, tmp_path, monkeypatch):
    """pip's settings reach uv; where its cache is empty too, the network is named."""
    uv = setup.CACHE / f"{setup.UV}-{os.uname().machine}/bin/uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nenv > {tmp_path}/env\nexit 1\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example https://b.example")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match="Check the network and the index"):
        setup.install(sys.executable, "torch==2.11.0")
    env = (tmp_path / "env").read_text().splitlines()
    assert "UV_DEFAULT_INDEX=https://mirror.example/simple" in env
    assert "UV_INDEX=https://a.example https://b.example" in env
    assert "UV_FIND_LINKS=/wheels,/more" in env
    first, second = (tmp_path / "asked").read_text().splitlines()
    assert first == f"{second} --offline"


@pytest.mark.slow
def test_a_whole_set_up(tmp_path):
    """In a copy of this repository, from the caches; made anew if it was cut off."""
    ignored = shutil.ignore_patterns("*.git", ".venv*", "data", "work_dirs", "build", "*cache*")
    clone = shutil.copytree(ROOT, tmp_path / "clone", symlinks=True, ignore=ignored)

    def make_setup() -> str:
        command = [sys.executable, "tools/setup.py"]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    assert "Ready: source" in make_setup()
    code = "import mmcv.ops, cv2, sphinx, mmres_plugin; print(mmres_plugin.__file__)"
    python = clone / ".venv/bin/python"
    found = subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True)
    assert found.stdout.strip() == str(clone / "mmres_plugin/__init__.py"), found.stderr
    assert make_setup() == f"{clone}/.venv is up to date.\n"
    (clone / ".venv.lock").write_text("")  # as after a kill
    (clone / ".venv/half_made").touch()
    assert "Ready: source" in make_setup()
    assert not (clone / ".venv/half_made").exists()
