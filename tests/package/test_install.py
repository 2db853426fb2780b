"""Installing the plugin as people do: wheel, source distribution and editable, each for real."""

import json
import os
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers import ROOT, run

NOT_COPIED = ("*.git", ".venv*", "data", "work_dirs", "build", "dist", "*.egg-info", "*cache*")
# What a user does first, from another folder than the repository.
USE = """
import json
import mmres_plugin, mmpretrain
from mmengine.config import Config
mmpretrain.get_model("iresnet18_8xb32_in1k")
config = Config.fromfile("config.py")
names = mmpretrain.list_models("*sreresnet*")
print(json.dumps([mmres_plugin.__file__, names, config.model.backbone.type]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the repository, which building may fill with what it leaves behind."""
    copy = tmp_path_factory.mktemp("source") / "mmres_plugin"
    ignore = shutil.ignore_patterns(*NOT_COPIED)
    return shutil.copytree(ROOT, copy, symlinks=True, ignore=ignore)


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=source)
    return next(folder.glob("*.tar.gz"))


def build_wheel(project: Path, folder: Path) -> Path:
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    run(sys.executable, "-m", "pip", "wheel", *options, str(project))
    return next(folder.glob("*.whl"))


def use_installed(folder: Path, *what: object) -> Path:
    """Install into a new environment that sees our packages; the file that is imported then."""
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    shared = folder / "shared"
    shared.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "mmres_plugin" not in path.name:
            (shared / path.name).symlink_to(path)
    site = next(folder.glob("venv/lib/python*/site-packages"))
    (site / "shared.pth").write_text(f"{shared}\n")
    here = {"cwd": folder, "env": dict(os.environ, PYTHONPATH="")}
    pip = (sys.executable, "-m", "pip", "--python", folder / "venv/bin/python")
    said = run(*pip, "install", "--no-index", "--no-build-isolation", *what, **here)
    last = next(line for line in said.splitlines() if line.startswith("Successfully installed"))
    assert [word.rsplit("-", 1)[0] for word in last.split()[2:]] in (
        ["mmres_plugin"],
        ["mmres-plugin"],
    )
    (folder / "config.py").write_text("_base_ = 'mmres_plugin::sreresnet/fcos_sreresnet50_1x.py'\n")
    answers = run(folder / "venv/bin/python", "-W", "ignore", "-c", USE, **here).splitlines()
    file, names, backbone = json.loads(answers[-1])
    assert "sreresnet50_8xb32_in1k" in names and backbone == "mmres_plugin.SReResNet"
    said = run(folder / "venv/bin/mmres", "predict", "gone.jpg", "config.py", code=2, **here)
    assert "there is no file or folder gone.jpg" in said
    return Path(file)


def test_wheel(wheel, tmp_path):
    """It has the files of the model hub, and nothing that only this repository needs."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    prefix = "mmres_plugin/.mim/"
    files = [p for name in ("configs", "examples", "tools") for p in (ROOT / name).rglob("*")]
    wanted = {str(p.relative_to(ROOT)) for p in files if p.is_file() and p.suffix != ".pyc"}
    wanted = {name for name in wanted if not name.startswith(("tools/dev/", "tools/setup"))}
    found = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    assert found == wanted | {"model-index.yml"}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mmres_plugin"}
    assert use_installed(tmp_path, wheel).is_relative_to(tmp_path / "venv")


def test_sdist(wheel, sdist, tmp_path):
    """It holds the whole repository, and its wheel is the same."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
        names = {name.partition("/")[2] for name in archive.getnames()}
    other = build_wheel(next(tmp_path.glob("mmres_plugin-*")), tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(other) as second:
        assert set(first.namelist()) == set(second.namelist())
    if (ROOT / ".git").exists():
        tracked = set(run("git", "ls-files", cwd=ROOT).splitlines())
        links = {f"mmres_plugin/.mim/{name}" for name in ("configs", "examples", "tools")}
        assert {p for p in tracked if (ROOT / p).exists()} - names - links == {".gitignore"}


def test_editable_install_follows_the_repository(source, tmp_path):
    found = use_installed(tmp_path, "--editable", source)
    assert found == source / "mmres_plugin" / "__init__.py"
    # No copies that could become stale: the hub reads the repository's own files.
    config = source / "mmres_plugin/.mim/configs/sreresnet/fcos_sreresnet50_1x.py"
    assert config.resolve() == source / "configs/sreresnet/fcos_sreresnet50_1x.py"
