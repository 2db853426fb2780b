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
import mmres_plugin, mmpretrain, mmengine
from mmengine.config import Config
from mmengine.registry import MODELS
MODELS.build(dict(type="mmres_plugin.SReResNet", depth=18))
mmpretrain.get_model("iresnet18_8xb32_in1k")
config = Config.fromfile({config!r})
print(json.dumps(dict(
    file=mmres_plugin.__file__,
    version=mmres_plugin.__version__,
    names=mmpretrain.list_models("*sreresnet*"),
    backbone=config.model.backbone.type,
)))
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


class EmptyEnvironment:
    """A new environment that sees the installed packages, but not an installed mmres_plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
        self.python = folder / "venv" / "bin" / "python"
        shared = folder / "shared"
        shared.mkdir()
        for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
            if "mmres_plugin" not in path.name:
                (shared / path.name).symlink_to(path)
        site = next(folder.glob("venv/lib/python*/site-packages"))
        (site / "shared.pth").write_text(f"{shared}\n")

    def pip(self, *args) -> str:
        env = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONPATH="")
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *args]
        return run(*command, cwd=self.folder, env=env)

    def packages(self) -> dict[str, str]:
        found = json.loads(self.pip("list", "--format=json").splitlines()[-1])
        return {package["name"]: package["version"] for package in found}

    def install(self, *args) -> None:
        """Install the plugin as pip does it by default, and check that nothing else changes."""
        before = self.packages()
        assert {"onedl-mmcv", "mmcv"} & set(before)
        self.pip("install", "--no-index", "--no-build-isolation", *args)
        after = self.packages()
        added = {name.replace("-", "_") for name in after.keys() - before.keys()}
        assert added == {"mmres_plugin"}
        assert before == {name: after[name] for name in before}

    def use(self) -> Path:
        """Do what a user does first; the file that the plugin was imported from."""
        config = self.folder / "config.py"
        config.write_text("_base_ = 'mmres_plugin::sreresnet/fcos_sreresnet50_1x.py'\n")
        env = dict(os.environ, PYTHONPATH="")
        code = USE.format(config=str(config))
        output = run(self.python, "-c", code, cwd=self.folder, env=env)
        answers = json.loads(output.splitlines()[-1])
        assert "sreresnet50_8xb32_in1k" in answers["names"]
        assert answers["backbone"] == "mmres_plugin.SReResNet"
        # A tool, by the console command.
        command = [self.folder / "venv/bin/mmres", "predict", "gone.jpg", "config.py"]
        said = run(*command, cwd=self.folder, env=env, code=2)
        assert "there is no file or folder gone.jpg" in said
        return Path(answers["file"])


def hub_files(folder: Path) -> set[str]:
    """The files of the model hub under a folder, relative to it; not the developers' tools."""
    paths = [
        path for name in ("configs", "examples", "tools") for path in (folder / name).rglob("*")
    ]
    files = [path for path in paths if path.is_file() and path.suffix != ".pyc"]
    names = {str(path.relative_to(folder)) for path in files} | {"model-index.yml"}
    return {name for name in names if not name.startswith(("tools/dev/", "tools/setup/"))}


def test_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    prefix = "mmres_plugin/.mim/"
    assert {name[len(prefix) :] for name in names if name.startswith(prefix)} == hub_files(ROOT)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mmres_plugin"}

    environment = EmptyEnvironment(tmp_path)
    environment.install(str(wheel))
    assert environment.use().is_relative_to(tmp_path / "venv")


def test_wheel_of_the_sdist_is_the_same(wheel, sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    other = build_wheel(next(tmp_path.glob("mmres_plugin-*")), tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(other) as second:
        assert set(first.namelist()) == set(second.namelist())


def test_sdist_holds_the_whole_repository(sdist):
    if not (ROOT / ".git").exists():
        pytest.skip("the list of files comes from git")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = set(run("git", "ls-files", cwd=ROOT).splitlines())
    # Folders in the sdist.
    links = {f"mmres_plugin/.mim/{name}" for name in ("configs", "examples", "tools")}
    assert {path for path in tracked if (ROOT / path).exists()} - names - links == {".gitignore"}


def test_editable_install_follows_the_repository(source, tmp_path):
    environment = EmptyEnvironment(tmp_path)
    environment.install("--editable", str(source))
    assert environment.use() == source / "mmres_plugin" / "__init__.py"
    # No copies that could become stale: the hub reads the repository's own files.
    config = source / "mmres_plugin/.mim/configs/sreresnet/fcos_sreresnet50_1x.py"
    assert config.resolve() == source / "configs/sreresnet/fcos_sreresnet50_1x.py"
