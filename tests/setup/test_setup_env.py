"""The set-up on small stand-ins of the real packages: real environments, uv, locks and kills."""

import ast
import ensurepip
import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiny_backend
from helpers import ROOT

UV = Path(sys.executable).with_name("uv")

TORCH = """
__version__ = "9.0+cpu"
class version: cuda = None
class cuda: is_available = staticmethod(lambda: False)
def tensor(data, device): return data
"""
CUDA_HOME = """
import os, shutil
CUDA_HOME = os.path.dirname(os.path.dirname(shutil.which("nvcc") or "/no/bin/nvcc"))
"""
MMCV = """
class kept: tolist = staticmethod(lambda: [0, 2])
def nms(boxes, scores, threshold): return None, kept
"""
# Starts the script as a user does, with a disk and a Python that the test chooses.
START = """
import collections, runpy, shutil, sys
shutil.disk_usage = lambda path: collections.namedtuple("usage", "free")({free} * 10**9)
sys.version_info = {version}
sys.argv = ["tools/setup"]
runpy.run_path("tools/setup", run_name="__main__")
"""


class Repository:
    """A repository with our set-up and stand-ins of all packages except uv."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clone"
        self.links, self.cache, self.builds = folder / "links", folder / "cache", folder / "builds"
        for path in (self.links, self.path / "mmres_plugin"):
            path.mkdir(parents=True)
        self.builds.touch()
        shutil.copytree(
            ROOT / "tools/setup", self.path / "tools/setup", ignore=lambda *_: ["__pycache__"]
        )
        (self.path / "mmres_plugin" / "__init__.py").touch()
        pth = {"mmres_plugin.pth": f"{self.path}\n"}
        for name, text in tiny_backend.make_project("mmres_plugin", "0", pth).items():
            (self.path / name).write_text(text)
        (pip,) = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
        shutil.copy(pip, self.links)
        self.pip = "pip=={}".format(pip.name.split("-")[1])
        self.require("tiny==1.0 # one")
        self.torch()
        script = {"uv-1.0.data/scripts/uv": f'#!/bin/sh\nexec {UV} "$@"\n'}
        for name, files in {
            "uv": script,
            "tiny": {"tiny.py": ""},
            "opencv_python": {"cv2/__init__.py": "raise ImportError('libGL.so.1')"},
            "opencv_python_headless": {"cv2/__init__.py": ""},
        }.items():
            tiny_backend.make_wheel(self.links, name, "1.0", files)
        mmcv = {"mmcv/_ext.so": "", "mmcv/__init__.py": "", "mmcv/ops/__init__.py": MMCV}
        tiny_backend.make_sdist(self.links, "onedl_mmcv", "1.0", mmcv)
        self.env = dict(os.environ, TINY_LOG=str(self.builds), MMRES_CACHE=str(self.cache))
        self.env.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.links))
        self.env.update(UV_CACHE_DIR=str(folder / "uv"), UV_HTTP_RETRIES="0", PIP_RETRIES="1")

    def require(self, *more: str) -> None:
        """Write requirements.txt."""
        names = ("uv", "onedl-mmcv", "opencv-python", "opencv-python-headless")
        lines = ["torch==9.0", self.pip, *(f"{name}==1.0" for name in names), *more]
        (self.path / "requirements.txt").write_text("\n".join(lines) + "\n")

    def torch(self, cuda: str = "None") -> None:
        """Offer a PyTorch that was built with this version of CUDA."""
        files = {"torch/__init__.py": TORCH.replace("None", cuda), "torch/utils/__init__.py": ""}
        files["torch/utils/cpp_extension.py"] = CUDA_HOME
        tiny_backend.make_wheel(self.links, "torch", "9.0", files)

    def start(self, free=100, version=sys.version_info[:3], **options) -> subprocess.Popen:
        """Start the set-up with `free` gigabytes of disk; upper-case options are variables."""
        env = {name: value for name, value in options.items() if name.isupper()}
        streams = {name: value for name, value in options.items() if not name.isupper()}
        return subprocess.Popen(
            [sys.executable, "-c", START.format(free=free, version=version)],
            cwd=self.path,
            env=dict(self.env, **env),
            # Tests that a script runs in the background have inherited an ignored SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **streams},
        )

    def set_up(self, **options) -> tuple[int, str]:
        """Run the set-up; its exit status and all that it printed."""
        process = self.start(**options)
        output = process.communicate(timeout=300)[0]
        return process.returncode, output

    def log(self) -> str:
        return (self.path / ".venv/setup.log").read_text()

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
        code = "import torch, tiny, cv2, mmcv.ops, mmres_plugin"
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


@pytest.mark.slow
def test_complete_run_and_changed_requirement(repository):
    status, output = repository.set_up()
    assert status == 0, output
    assert "[4/4] first import" in output
    # Where there is no terminal, ninja's steps and uv's are lines.
    assert "      [4/4] c++\n" in output
    assert "      Installed 1 package in" in output
    repository.check_ready()
    (wheel,) = repository.wheels()
    python = "cp{}{}".format(*sys.version_info[:2])
    assert wheel.parent.name.startswith(f"onedl-mmcv-1.0-torch-9.0+cpu-{python}-")
    assert wheel.parent.name.endswith("-cpu")
    assert "c++ -c file4.cpp" in repository.log()

    # A changed requirement is noticed; what the user has added stays. The wheel of mmcv comes from
    # the cache, without a compiler.
    (repository.path / ".venv/kept").touch()
    repository.require("tiny==1.0", "more==1.0")
    tiny_backend.make_wheel(repository.links, "more", "1.0", {"more.py": ""})
    status, output = repository.set_up(CXX="no-such-compiler")
    assert status == 0, output
    assert f"from the cache: {wheel}" in output
    assert repository.builds.read_text().split()  # mmcv, the plugin
    assert output.count("[4/4] c++") == 0
    assert (repository.path / ".venv/kept").exists()
    subprocess.run([repository.path / ".venv/bin/python", "-c", "import more"], check=True)


@contextmanager
def index_of(links: Path) -> Iterator[str]:
    """The address of a package index with the files of a folder; it is gone afterwards."""
    for file in list(links.iterdir()):
        project = links / "simple" / re.sub("_", "-", re.split(r"-\d", file.name)[0])
        project.mkdir(parents=True, exist_ok=True)
        file.rename(project / file.name)
        (project / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>')
    handler = partial(SimpleHTTPRequestHandler, directory=links)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()


@pytest.mark.slow
def test_second_clone_needs_neither_index_nor_compiler(repository):
    with index_of(repository.links) as address:
        repository.env.update(PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=address)
        status, output = repository.set_up()
        assert status == 0, output
    first = repository.path
    own = next(first.glob(".venv/lib/python*/site-packages")) / "own"  # the user's, here alone
    own.mkdir()
    (own / "__init__.py").touch()
    (first / ".venv/setup.stamp").write_text("old")
    code = f"import compileall; compileall.compile_dir({str(own)!r}, quiet=1)"
    subprocess.run([first / ".venv/bin/python", "-c", code], check=True)
    assert repository.set_up()[0] == 0  # keeps the bytecode of it too
    repository.path = first.with_name("second")
    shutil.copytree(first, repository.path, ignore=shutil.ignore_patterns(".venv*"))
    status, output = repository.set_up(CXX="no-such-compiler")
    assert status == 0, output
    repository.check_ready()
    assert not list(repository.path.glob(".venv/lib/python*/site-packages/own"))
    # Python has not compiled again what the first environment has in bytecode.
    pattern = ".venv/lib/python*/site-packages/torch/__pycache__/__init__.*.pyc"
    (one,), (other,) = first.glob(pattern), repository.path.glob(pattern)
    assert one != other
    assert one.stat().st_mtime_ns // 10**9 == other.stat().st_mtime_ns // 10**9


@pytest.mark.slow
def test_damaged_bytecode_is_replaced(repository):
    assert repository.set_up()[0] == 0
    (archive,) = repository.cache.glob("bytecode-*.tar")
    archive.write_bytes(archive.read_bytes()[:3000])
    (repository.path / ".venv/setup.stamp").unlink()
    status, output = repository.set_up()
    assert status == 0, output
    repository.check_ready()
    with tarfile.open(archive) as tar:
        assert any("torch" in name for name in tar.getnames())


@pytest.mark.slow
def test_kill_during_the_compilation(repository):
    process = repository.start(TINY_SLEEP="4")
    repository.wait_for_builds(2)  # the plugin, then mmcv
    process.kill()
    process.wait()
    assert repository.wheels() == []
    # The compiler that was left behind still holds the folder.
    status, output = repository.set_up()
    assert status == 1
    assert "Another set-up of the same folder is running" in output
    repository.wait_until_free()
    status, output = repository.set_up()
    assert status == 0, output
    repository.check_ready()
    assert len(repository.wheels()) == 1


@pytest.mark.slow
def test_kill_while_packages_are_written(repository):
    assert repository.set_up()[0] == 0
    (repository.path / ".venv/setup.stamp").write_text("old")
    (repository.path / "pyproject.toml").touch()  # uv builds the plugin once more
    process = repository.start(TINY_SLEEP="4")
    repository.wait_for_builds(3)
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
@pytest.mark.parametrize("builds", [1, 2])
def test_interruption_ends_the_children_too(repository, number, status, builds):
    """During uv's build of the plugin, and during pip's of mmcv."""
    process = repository.start(TINY_SLEEP="20")
    compiler = repository.wait_for_builds(builds)
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
    repository.torch(cuda="'77.0'")
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


@pytest.mark.slow
def test_on_a_terminal_the_news_are_one_line(repository):
    master, slave = pty.openpty()
    shown = b""
    with index_of(repository.links) as address:
        repository.env.update(PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=address)
        process = repository.start(stdout=slave, stderr=slave)
        os.close(slave)
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:
                break
    assert process.wait() == 0, shown.decode()
    assert b"No solution" not in shown
    assert "No solution" in repository.log()  # while uv looked into its cache alone
    assert b"\r\x1b[K      [3/4] c++\r\x1b[K      [4/4] c++" in shown
    assert b"\r\x1b[K      Installed 1 package in" in shown
    assert "\x1b" not in repository.log()
    assert "\nInstalled 1 package in" in repository.log()


def test_another_set_up_at_work(repository):
    with open(repository.path / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(4711, file=lock, end="", flush=True)
        status, output = repository.set_up()
    assert status == 1
    assert "is running (process 4711). Wait for it." in output


def test_too_little_disk(repository):
    status, output = repository.set_up(free=2)
    assert status == 1
    assert "set-up stopped: Too little disk space: the set-up needs about 6.5 GB" in output
    assert "2.0 GB are free" in output
    assert not (repository.path / ".venv").exists()


def test_disk_that_fills_up(repository, tmp_path):
    """What uv says of a full disk is what the system says."""
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\necho "No space left on device (os error 28)" >&2\nexit 1\n')
    compiler.chmod(0o755)
    status, output = repository.set_up(CXX=str(compiler))
    assert status == 1
    assert "set-up stopped: The disk is full." in output


def test_no_compiler(repository, tmp_path):
    (tmp_path / "empty").mkdir()
    repository.env.pop("CXX", None)
    (tmp_path / "empty/sh").symlink_to("/bin/sh")
    status, output = repository.set_up(PATH=str(tmp_path / "empty"))
    assert status == 1
    assert "set-up stopped: No C++ compiler was found (c++)" in output
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
    compiler.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit 1\n')
    compiler.chmod(0o755)
    status, output = repository.set_up(CXX=str(compiler))
    assert status == 1
    assert sentence in output


@pytest.mark.parametrize("name", ["thesis.tex", "pyvenv.cfg"])
def test_folder_that_is_not_ours_is_left_alone(repository, name):
    """Nor is an environment that the user has made."""
    (repository.path / ".venv").mkdir()
    (repository.path / ".venv" / name).touch()
    status, output = repository.set_up()
    assert status == 1
    assert "exists and is not a virtual environment that a set-up has made" in output
    assert (repository.path / ".venv" / name).exists()


def test_sign_of_life(repository):
    """A command that says nothing of interest: a line now and then, here each second."""
    code = (
        "import environment as e, pathlib; e.PATIENCE = 1; env = e.Environment(pathlib.Path('v')); "
        "env.path.mkdir(); env.run('sh', '-c', 'for i in 1 2 3 4 5; do echo; sleep 0.5; done')"
    )
    options = {"cwd": repository.path, "env": {**os.environ, "PYTHONPATH": "tools/setup"}}
    output = subprocess.check_output([sys.executable, "-c", code], text=True, **options)
    assert set(output.splitlines()) == {"      still working"}


@pytest.mark.parametrize(
    ("version", "fault"), [((3, 9, 1), "3.9 is too old"), ((3, 13, 0), "3.13 is too new")]
)
def test_wrong_python(repository, version, fault):
    status, output = repository.set_up(version=version)
    assert status == 1
    assert f"set-up stopped: Python {fault}" in output
    assert not (repository.path / ".venv").exists()


def test_an_old_python_can_read_the_script_and_so_say_that_it_is_too_old():
    ast.parse((ROOT / "tools/setup/__main__.py").read_text(), feature_version=(3, 4))


def test_python_without_ensurepip(repository):
    """As on Debian, where it is a package of its own."""
    says = "The virtual environment was not created successfully because ensurepip is not available"
    (repository.path / "venv.py").write_text(f"raise SystemExit('{says}.')")
    status, output = repository.set_up(PYTHONPATH=str(repository.path))
    assert status == 1
    assert "set-up stopped: Python cannot make virtual environments." in output
    assert "sudo apt install python3." in output


DEAD = "http://127.0.0.1:9/simple"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": DEAD}, "cannot be reached"),
        ({"PIP_NO_INDEX": "0", "PIP_INDEX_URL": DEAD}, "cannot be reached"),
        ({}, "The package index has no missing for this machine (python3."),
    ],
    ids=["pip finds no index", "uv finds no index", "uv finds no package"],
)
def test_the_index_is_at_fault(repository, variables, sentence):
    """The first failure is pip's, the others are uv's, which was handed pip's settings."""
    repository.require("tiny==1.0", "missing==3.0")
    status, output = repository.set_up(**variables)
    assert status == 1
    assert sentence in output
    assert "set-up stopped: The package index" in output
    assert "The whole output: " in output
    # Once the fault is mended, the same command goes on.
    repository.require("tiny==1.0")
    status, output = repository.set_up()
    assert status == 0, output
    repository.check_ready()
