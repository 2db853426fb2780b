"""The set-up on small stand-ins of the real packages: real environments, pip, locks and kills."""

import ast
import fcntl
import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import setup_checks
import setup_progress
import tiny_backend
from helpers import ROOT

TORCH = """
__version__ = "9.0+cpu"
class version: cuda = None
class cuda:
    is_available = staticmethod(lambda: False)
def tensor(data, device): return data
"""
MMCV = """
class kept: tolist = staticmethod(lambda: [0, 2])
def nms(boxes, scores, threshold): return None, kept
"""
# Starts the script as a user does, on a machine with a disk of a size that the test chooses.
START = """
import collections, runpy, shutil, sys
sys.path.insert(0, "tools/setup")
shutil.disk_usage = lambda path: collections.namedtuple("usage", "free")({free} * 10**9)
sys.argv = ["setup_env.py"]
runpy.run_path("tools/setup/setup_env.py", run_name="__main__")
"""


class Repository:
    """A repository with our set-up scripts and stand-ins of all packages."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clone"
        self.cache, self.builds, links = folder / "cache", folder / "builds", folder / "links"
        for name in ("clone/tools/setup", "clone/mmres_plugin", "links"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.builds.touch()
        for script in (ROOT / "tools/setup").glob("setup_*.py"):
            (self.path / "tools/setup" / script.name).write_text(script.read_text())
        (self.path / "requirements.txt").write_text(
            "torch==9.0\nonedl-mmcv==1.0\ntiny==1.0 # one\n"
        )
        (self.path / "mmres_plugin" / "__init__.py").touch()
        pth = {"mmres_plugin.pth": f"{self.path}\n"}
        for name, text in tiny_backend.make_project("mmres_plugin", "0", pth).items():
            (self.path / name).write_text(text)
        tiny_backend.make_wheel(links, "torch", "9.0", {"torch/__init__.py": TORCH})
        tiny_backend.make_wheel(links, "tiny", "1.0", {"tiny.py": ""})
        mmcv = {"mmcv/_ext.so": "", "mmcv/__init__.py": "", "mmcv/ops/__init__.py": MMCV}
        tiny_backend.make_sdist(links, "onedl_mmcv", "1.0", mmcv)
        self.env = dict(os.environ, TINY_LOG=str(self.builds), MMRES_CACHE=str(self.cache))
        self.env.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(links))

    def start(self, free: float = 100, **env: str) -> subprocess.Popen:
        """Start the set-up with `free` gigabytes of disk."""
        return subprocess.Popen(
            [sys.executable, "-c", START.format(free=free)],
            cwd=self.path,
            env=dict(self.env, **env),
            # Tests that a script runs in the background have inherited an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def set_up(self, **kwargs) -> tuple[int, str]:
        """Run the set-up; its exit status and all that it printed."""
        process = self.start(**kwargs)
        output = process.communicate(timeout=300)[0]
        return process.returncode, output

    def wheels(self) -> list[Path]:
        return sorted(self.cache.rglob("*.whl"))

    def wait_for_builds(self, count: int) -> int:
        """Wait until so many builds have started; the process id of the last one."""
        deadline = time.monotonic() + 120
        while len(self.builds.read_text().split()) < count:
            assert time.monotonic() < deadline, "the build does not start"
            time.sleep(0.05)
        return int(self.builds.read_text().split()[-1])

    def wait_until_free(self) -> None:
        """Wait until the processes that a killed set-up has left behind are gone."""
        with open(self.path / ".venv.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def check_ready(self) -> None:
        """All packages are importable, and a further run has nothing to do."""
        code = "import torch, tiny, mmcv.ops, mmres_plugin"
        subprocess.run([self.path / ".venv/bin/python", "-c", code], check=True, cwd="/")
        start = time.monotonic()
        assert self.set_up() == (0, f"{self.path / '.venv'} is up to date.\n")
        assert time.monotonic() - start < 5


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Without a parent that waits for it, a dead process may stay as a zombie.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()


def test_complete_run_and_second_clone(repository, tmp_path):
    status, output = repository.set_up()
    assert status == 0, output
    assert "[7/7] mmres_plugin" in output
    repository.check_ready()
    (wheel,) = repository.wheels()
    python = "cp{}{}".format(*sys.version_info[:2])
    assert wheel.parent.name.startswith(f"onedl-mmcv-1.0-torch-9.0+cpu-{python}-")
    assert wheel.parent.name.endswith("-cpu")
    assert "c++ -c file4.cpp" in (repository.path / ".venv/setup.log").read_text()

    # A changed requirement is noticed; the wheel of mmcv comes from the cache, without a compiler.
    (repository.path / "requirements.txt").write_text("torch==9.0\nonedl-mmcv==1.0\n")
    built = len(repository.builds.read_text().split())
    status, output = repository.set_up(CXX="no-such-compiler")
    assert status == 0, output
    assert f"from the cache: {wheel}" in output
    assert len(repository.builds.read_text().split()) == built + 1  # the plugin, not mmcv


@pytest.mark.slow
def test_kill_during_the_compilation(repository):
    process = repository.start(TINY_SLEEP="4")
    repository.wait_for_builds(1)
    process.kill()
    process.wait()
    assert repository.wheels() == []
    # The compiler that was left behind still holds the folder.
    status, output = repository.set_up()
    assert status == 1
    assert "Another set-up of the same folder is at work" in output
    repository.wait_until_free()
    status, output = repository.set_up()
    assert status == 0, output
    repository.check_ready()
    assert len(repository.wheels()) == 1


@pytest.mark.slow
def test_kill_while_packages_are_written(repository):
    assert repository.set_up()[0] == 0
    (repository.path / ".venv/setup.stamp").unlink()
    process = repository.start(TINY_SLEEP="4")
    repository.wait_for_builds(3)  # mmcv and the plugin before, the plugin now
    process.kill()
    process.wait()
    half_made = repository.path / ".venv/half_made"
    half_made.touch()
    repository.wait_until_free()
    status, output = repository.set_up()
    assert status == 0, output
    assert not half_made.exists()  # a folder that cannot be trusted is made anew
    repository.check_ready()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_ends_the_compiler_too(repository, number, status):
    process = repository.start(TINY_SLEEP="60")
    compiler = repository.wait_for_builds(1)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == status, output
    assert not is_alive(compiler)
    assert repository.set_up()[0] == 0
    repository.check_ready()


@pytest.mark.slow
def test_cached_wheel_that_does_not_work_is_compiled_again(repository):
    assert repository.set_up()[0] == 0
    (wheel,) = repository.wheels()
    broken = {"mmcv/__init__.py": "", "mmcv/ops/__init__.py": "raise ImportError('symbol')"}
    tiny_backend.make_wheel(wheel.parent, "onedl_mmcv", "1.0", broken)
    (repository.path / ".venv/setup.stamp").unlink()
    status, output = repository.set_up()
    assert status == 0, output
    assert "compiling again" in output
    repository.check_ready()


@pytest.mark.slow
def test_login_node_compiles_for_the_gpus_that_are_named(repository, tmp_path):
    """No GPU is here; PyTorch's variable says which ones the operators are for."""
    tiny_backend.make_wheel(
        tmp_path / "links", "torch", "9.0", {"torch/__init__.py": TORCH.replace("None", "'77.0'")}
    )
    named = {"TORCH_CUDA_ARCH_LIST": "9.0;8.0"}
    status, output = repository.set_up(**named)
    assert status == 0, output
    assert "For GPUs (8.0, 9.0) an nvcc of PyTorch's CUDA (77.0) is missing" in output
    assert [wheel.parent.name.endswith("-cpu") for wheel in repository.wheels()] == [True]

    nvcc = tmp_path / "cuda/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\necho release 77.0, V77.0.1\n")
    nvcc.chmod(0o755)
    (repository.path / ".venv/setup.stamp").unlink()
    status, output = repository.set_up(PATH=f"{nvcc.parent}:{os.environ['PATH']}", **named)
    assert status == 0, output
    assert "compiling for GPU 8.0, 9.0" in output
    assert [w for w in repository.wheels() if w.parent.name.endswith("-cu77.0-sm8.0_9.0")]


def test_another_set_up_at_work(repository):
    with open(repository.path / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(4711, file=lock, end="", flush=True)
        status, output = repository.set_up()
    assert status == 1
    assert "is at work (process 4711). Wait for it." in output


def test_too_little_disk(repository):
    status, output = repository.set_up(free=2)
    assert status == 1
    assert "set-up stopped: Too little disk space: the set-up needs about" in output
    assert "2.0 GB are free" in output
    assert not (repository.path / ".venv").exists()


def test_no_compiler(repository, tmp_path):
    (tmp_path / "empty").mkdir()
    env = dict(repository.env, PATH=str(tmp_path / "empty"))
    env.pop("CXX", None)
    repository.env = env
    status, output = repository.set_up()
    assert status == 1
    assert "set-up stopped: No C++ compiler was found (looked for c++, g++, clang++)" in output
    assert not (repository.path / ".venv").exists()


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("fatal error: Python.h: No such file or directory", "Python's header files are missing"),
        ("error: unrecognized option '-std=c++17'", "cannot build a small C++17 program"),
    ],
)
def test_compiler_that_does_not_do(repository, tmp_path, says, sentence):
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\necho "{says}"\nexit 1\n')
    compiler.chmod(0o755)
    status, output = repository.set_up(CXX=str(compiler))
    assert status == 1
    assert sentence in output


def test_folder_that_is_no_environment_is_left_alone(repository):
    (repository.path / ".venv").mkdir()
    (repository.path / ".venv" / "thesis.tex").touch()
    status, output = repository.set_up()
    assert status == 1
    assert "exists and is no virtual environment" in output
    assert (repository.path / ".venv" / "thesis.tex").exists()


def test_python_versions():
    for version in ((3, 10), (3, 11), (3, 12)):
        setup_checks.check_python(version)
    for version, fault in (((3, 9), "3.9 is too old"), ((3, 13), "3.13 is too new")):
        with pytest.raises(setup_progress.SetupError, match=fault):
            setup_checks.check_python(version)


def test_an_old_python_can_read_the_scripts_and_so_say_that_it_is_too_old():
    for script in (ROOT / "tools/setup").glob("setup_*.py"):
        ast.parse(script.read_text(), feature_version=(3, 6))


def test_python_without_venv(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find_spec(name)
    )
    with pytest.raises(setup_progress.SetupError, match=r"apt install python3\.\d+-venv"):
        setup_checks.check_venv_module()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--index-url", "http://127.0.0.1:9/simple"], "index cannot be reached"),
        (["--no-index"], "index has no no-such-package"),
    ],
)
def test_what_pip_says_is_explained(tmp_path, options, sentence):
    command = [sys.executable, "-m", "pip", "--isolated", "download", "--retries=1", *options]
    with pytest.raises(setup_progress.CommandError) as error:
        setup_progress.run([*command, "no-such-package"], tmp_path / "log")
    assert sentence in setup_checks.explain(error.value.lines)


def test_progress_without_a_terminal(monkeypatch):
    reader, stream = setup_progress.OutputReader(), io.StringIO()
    progress = setup_progress.Progress(stream)
    now = progress.start
    monkeypatch.setattr(setup_progress.time, "monotonic", lambda: now)
    for number in range(1, 79):
        now += 4
        progress.update(*reader.read(f"  [{number}/78] c++ -MMD -MF /tmp/build/file{number}.o"))
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 14
    assert lines[-1].strip() == "compiled 78 of 78 files · 100% · 5:12"
    now += 31  # no news, but still a sign of life
    progress.update()
    assert stream.getvalue().splitlines()[-1].endswith("5:43")


def test_progress_on_a_terminal_rewrites_its_line(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    progress = setup_progress.Progress(stream)
    reader = setup_progress.OutputReader()
    for line in ("Downloading torch-2.11.0-cp311-cp311-linux.whl (532 MB)", "Progress 1 of 4"):
        progress.update(*reader.read(line))
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\033[K      downloading torch-2.11.0 (0 MB) · 25% · 0:00")
