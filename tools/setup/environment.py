"""The virtual environment: what is installed there, in which order, and what a second run does."""

import argparse
import ast
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bytecode
import mmcv_wheel
from command import PYTHON, SetupError, cache, explain, run

HERE = Path(__file__).resolve().parent
ROOT, REQUIREMENTS = HERE.parents[1], HERE.parents[1] / "requirements.txt"
SIZE = 6  # gigabytes of all packages, measured with PyTorch's CUDA packages
# pip's settings, which uv does not read, and the variables in which it takes them.
PIP_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


class Environment:
    """The virtual environment in the folder `path`, locked for this process and its children."""

    def __init__(self, path: Path) -> None:
        self.path, self.python, self.log = path, path / "bin/python", path / "setup.log"
        self.stamp = path / "setup.stamp"  # there once everything is installed
        self.unsafe = path.with_name(path.name + ".unsafe")  # there while packages are written
        key = hashlib.sha256(f"{sys.prefix} {sys.version}".encode()).hexdigest()[:8]
        self.tools = cache() / f"{pinned('uv').replace('==', '-')}-{key}"  # with uv and pip in it
        self.lock = open(path.with_name(path.name + ".lock"), "a+")  # noqa: SIM115
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.seek(0)
            holder = self.lock.read() or "unknown"
            raise SetupError(
                f"Another set-up of the same folder is at work (process {holder}). Wait for it."
            ) from None
        self.lock.truncate(0)
        print(os.getpid(), end="", file=self.lock, flush=True)

    def fingerprint(self) -> str:
        """A hash of all that decides what is installed here."""
        files = [REQUIREMENTS, ROOT / "pyproject.toml", *sorted(HERE.glob("*.*"))]
        content = b"".join(path.read_bytes() for path in files)
        return hashlib.sha256(content + f"{sys.version} {self.path} {ROOT}".encode()).hexdigest()

    def create(self) -> None:
        """Make the environment, or keep one that is sound."""
        ours = self.unsafe.exists() or (self.path / "pyvenv.cfg").exists()
        if not ours and any(self.path.glob("*")):
            raise SetupError(f"{self.path} exists and is no virtual environment. Move it away.")
        sound = self.python.exists() and (self.path / "lib" / PYTHON).exists()
        if self.unsafe.exists() or not sound:
            with self.writing():
                shutil.rmtree(self.path, ignore_errors=True)
                self.path.mkdir(parents=True)
                self.run(sys.executable, "-m", "venv", "--without-pip", self.path)

    def make_tools(self) -> None:
        """Put uv and pip into the user's cache, where the next set-up finds them."""
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            new = Path(folder, "new")
            self.run(sys.executable, "-m", "venv", new)
            self.run(new / "bin/python", "-m", "pip", "install", pinned("uv"))
            if not self.tools.is_dir():
                new.rename(self.tools)

    def run(self, *command, **options) -> str:
        """Run a command with its output in the log; see `command.run`."""
        return run(command, self.log, pass_fds=[self.lock.fileno()], **options)

    def works(self, code: str) -> bool:
        """Whether Python code runs without an error in the environment."""
        try:
            self.run(self.python, "-I", "-c", code)
        except SetupError:
            return False
        return True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Mark that packages are written here; the next run starts over if half of it is done."""
        self.unsafe.touch()
        try:
            yield
        except SetupError as error:
            if str(error).startswith("The package index"):  # nothing has been written yet
                self.unsafe.unlink()
            raise
        self.unsafe.unlink()

    def uv(self, *args) -> None:
        """Let uv install, with the user's settings of pip; variables for uv itself go first."""
        if not self.tools.is_dir():
            self.make_tools()
        pip = [self.tools / "bin/python", "-m", "pip"]
        listed = subprocess.check_output([*pip, "config", "list"], text=True)
        given, variables = {}, {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # all alike, as for pip
        for section in ("global", "install", ":env:"):
            found = re.findall(rf"^{section}\.(\S+?)=(.*)$", listed, re.M)
            given |= {name: ast.literal_eval(value) for name, value in found}
        for name, variable in PIP_SETTINGS.items():
            if name in given:
                values = map(os.path.expanduser, given[name].split())
                variables[variable] = ("," if name == "find-links" else " ").join(values)
        if uv_cache().stat().st_dev != self.path.stat().st_dev:
            variables["UV_LINK_MODE"] = "copy"
        own = {name: value for name, value in os.environ.items() if name.startswith("UV_")}
        offline = ["--no-index"] * (given.get("no-index", "0") in ("1", "true", "yes"))
        uv = self.tools / "bin/uv"
        command = [uv, "pip", "install", "--python", self.python, *offline, *args]
        env = {**os.environ, **variables, **own}
        with self.writing():
            try:  # our versions are exact: where all are in uv's cache, no index need be asked
                self.run(*command, "--offline", env=env)
            except SetupError:
                self.run(*command, env=env)


def pinned(name: str) -> str:
    """The requirement of this name, ``name==version``."""
    return re.search(rf"^{name}==[^\s;]+", REQUIREMENTS.read_text(), re.M)[0]


def uv_cache() -> Path:
    """uv's cache, where packages go first, or the nearest folder that exists."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    cache = Path(os.environ.get("UV_CACHE_DIR") or f"{home}/uv").expanduser().absolute()
    return next(path for path in (cache, *cache.parents) if path.exists())


def check_disk(venv: Path) -> None:
    """Raise SetupError if there is too little room for the packages."""
    linked = uv_cache().stat().st_dev == venv.parent.stat().st_dev
    cached = any(uv_cache().glob("archive-v*/*/torch/version.py"))
    for path, size in ((uv_cache(), 0 if cached else SIZE), (venv.parent, 0 if linked else SIZE)):
        free = shutil.disk_usage(path).free / 1e9
        if free < size + 0.5:
            raise SetupError(
                f"Too little disk space: the set-up needs about {size + 0.5} GB on the disk of "
                f"{path}, {free:.1f} GB are free."
            )


def packages(requirements: Path) -> list:
    """The arguments with which uv installs the packages of a file."""
    limits = ["--excludes", HERE / "excludes.txt", "--build-constraints", REQUIREMENTS]
    return ["-r", requirements, *limits]


def mend_opencv(env: Environment) -> None:
    """Take OpenCV without windows where the system lacks the libraries that windows need."""
    for name in ("opencv-python", "opencv-python-headless"):
        env.uv("--no-deps", "--reinstall", pinned(name))
        if env.works("import cv2"):
            break


def set_up(env: Environment) -> None:
    """Install everything into an environment, or raise SetupError."""
    start, mmcv = time.monotonic(), pinned("onedl-mmcv")
    kept = mmcv_wheel.folder(mmcv)
    if not any(kept.parent.glob(f"{kept.name}/*.whl")):
        mmcv_wheel.check_compiler()
    if not any(env.path.glob("lib/python*/site-packages/torch/version.py")):
        check_disk(env.path)
    steps = {
        f"virtual environment {env.path}": env.create,
        "PyTorch, the other packages and mmres_plugin": lambda: (
            env.uv(*packages(REQUIREMENTS), "--editable", ROOT),
            bytecode.restore(env),
        ),
        "OpenCV": lambda: mend_opencv(env),
        "mmcv with its operators": lambda: mmcv_wheel.install(env, mmcv),
        # Isolated, so that this also compiles the Python files that every start needs.
        "first import": lambda: (
            env.run(env.python, "-I", "-c", "import mmres_plugin"),
            bytecode.keep(env),
        ),
    }
    for number, (title, step) in enumerate(steps.items(), 1):
        print(f"[{number}/{len(steps)}] {title}", flush=True)
        step()
    new = env.stamp.with_suffix(".new")
    new.write_text(env.fingerprint())
    new.replace(env.stamp)
    print(f"Ready after {time.monotonic() - start:.0f} s: source {env.path}/bin/activate")


def main() -> int:
    """Run the set-up and return its exit status."""
    parser = argparse.ArgumentParser(description="Make the environment of this repository.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder to make it in")
    parser.add_argument("--also", type=Path, help="a file of further packages to install")
    args = parser.parse_args()
    path = args.venv.absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        env = Environment(path)
        done = env.stamp.exists() and env.stamp.read_text() == env.fingerprint()
        if done and env.python.exists():
            print(f"{path} is up to date.")
        else:
            set_up(env)
        if args.also:
            env.uv(*packages(args.also))
    except (SetupError, OSError) as error:
        print(f"\nset-up stopped: {explain(str(error)) or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0
