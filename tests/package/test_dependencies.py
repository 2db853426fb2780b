"""Importing the plugin beside missing, old, new and broken packages: real imports in a process."""

import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from helpers import ROOT, complete

from mmres_plugin import environment
from mmres_plugin.environment import check_compiled_ops

# Hides packages from the import system the way a missing package looks.
HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {hidden!r} or name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util
real_find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda n, p=None: None if n in {hidden!r} else real_find_spec(n, p)
"""


def run_code(code: str, path: Path | None = None) -> subprocess.CompletedProcess:
    """Run code in a new process that sees the packages in `path` first, then the repository."""
    folders = [str(path)] if path else []
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([*folders, str(ROOT)]))
    return complete(sys.executable, "-c", code, env=env)


def fake_package(folder: Path, name: str, content: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(content)


def error_of(result: subprocess.CompletedProcess) -> str:
    """The message of the ImportError that a process ended with."""
    assert result.returncode == 1
    _, _, message = result.stderr.rpartition("\nImportError: ")
    assert message, result.stderr
    return message


def test_missing_packages_are_all_named_with_both_ways_to_get_them():
    result = run_code(HIDE.format(hidden=["mmcv", "mmpretrain"]) + "import mmres_plugin")
    message = error_of(result)
    assert message.startswith("mmres_plugin needs mmcv, mmpretrain: not installed")
    for way in ("onedl-mmcv==", "onedl-mmpretrain==", "mim install 'mmcv", "mim install mmpret"):
        assert way in message


# What is checked before a package is faked: the real ones take seconds to import.
FITTING = dict(torch="2.11.0+cpu", mmengine="0.10.12", mmcv="2.3.6", mmpretrain="1.3.6")
OLD = "needs {} {}, but version {} is installed"
BROKEN = "{}, which is installed but cannot be imported: {}"


@pytest.mark.parametrize(
    ("package", "code", "reason"),
    [
        ("torch", "__version__ = '2.5.1'", OLD.format("torch", ">=2.6, <3", "2.5.1")),
        ("mmengine", "__version__ = '0.7.4'", OLD.format("mmengine", ">=0.10, <1", "0.7.4")),
        ("mmcv", "__version__ = '3.0.0rc1'", OLD.format("mmcv", ">=2.0, <3", "3.0.0rc1")),
        ("mmpretrain", "__version__ = '0.25.0'", OLD.format("mmpretrain", ">=1.0, <2", "0.25.0")),
        ("torch", "raise ImportError('no libtorch')", BROKEN.format("torch", "no libtorch")),
        ("mmpretrain", "assert False, 'MMCV is old'", BROKEN.format("mmpretrain", "MMCV is old")),
    ],
)
def test_packages_that_do_not_fit(tmp_path, package, code, reason):
    for name in takewhile(lambda name: name != package, FITTING):
        fake_package(tmp_path, name, f"__version__ = {FITTING[name]!r}")
    fake_package(tmp_path, package, code)
    message = error_of(run_code("import mmres_plugin", tmp_path))
    assert reason in message and "pip install" in message
    assert "version" not in code or str(tmp_path / package) in message


def test_classification_needs_neither_mmdet_nor_the_operators_of_mmcv():
    result = run_code(
        HIDE.format(hidden=["mmdet", "mmcv._ext"]) + "import mmres_plugin\n"
        "from mmpretrain.registry import MODELS\n"
        "MODELS.build(dict(type='mmres_plugin.SReResNet', depth=18)); print('built')\n"
        "mmres_plugin.environment.check_compiled_ops(cuda=False)"
    )
    assert result.stdout.endswith("built\n"), result.stderr
    message = error_of(result)
    assert message.startswith("detectors need mmcv's compiled operators")
    assert "--no-build-isolation onedl-mmcv==" in message


def test_operators_are_found():
    from mmcv.ops import get_compiling_cuda_version

    check_compiled_ops(cuda=False)
    if get_compiling_cuda_version() == "not available":
        with pytest.raises(ImportError, match="need mmcv's operators compiled for CUDA"):
            check_compiled_ops(cuda=True)


def test_families_of_packages(monkeypatch):
    owners = {"mmengine": ["onedl-mmengine"], "mmcv": ["mmcv", "onedl-mmcv"], "mmdet": ["mmdet"]}
    monkeypatch.setattr(environment, "distributions", lambda: owners)
    twice, mixed = environment.problems()[:2]
    assert twice.startswith("mmcv is installed twice, by mmcv and onedl-mmcv, which overwrite")
    assert "onedl-mmengine, onedl-mmcv beside mmcv, mmdet" in mixed


@pytest.mark.slow
def test_unfit_mmdet_is_a_warning(tmp_path):
    """Classification does not need it."""
    fake_package(tmp_path, "mmdet", "__version__ = '2.28.2'")
    done = run_code("import mmres_plugin; print('imported')", tmp_path)
    assert done.stdout == "imported\n", done.stderr
    assert "Detectors will not work. mmres_plugin needs mmdet >=3.0, <4" in done.stderr
