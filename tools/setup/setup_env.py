"""Make the environment of this repository: ``make setup``, or ``python3 tools/setup/setup_env.py``.

Creates .venv with PyTorch, the packages that we extend and this plugin, all at the versions in
requirements.txt. mmcv is compiled here, because its operators must fit the installed PyTorch; the
result is kept in the user's cache, so the next clone does not compile again. A second run does
nothing; a run after an interrupted one picks up or starts over, whichever is safe.

Read by whatever Python is there, also one that is too old: plain syntax and standard library only.
"""

import argparse
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from setup_checks import check_compiler, check_disk, check_python, check_venv_module, explain
from setup_mmcv import MmcvWheel
from setup_progress import CommandError, SetupError, clock, run

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements.txt"
BUILD_TOOLS = ("pip", "setuptools", "wheel", "ninja", "packaging")
TORCH = ("torch", "torchvision")
MMCV = ("onedl-mmcv",)
# Gigabytes, measured with PyTorch's CUDA packages: installed, while unpacking, in pip's cache.
VENV_SIZE, UNPACK_SIZE, CACHE_SIZE = 6.5, 3, 3


class Environment:
    """A virtual environment in the making.

    Args:
        path (Path): Its folder.
        lock (int): File descriptor of the lock. Children inherit it, so that the environment
            counts as busy as long as one of them is alive.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.python = path / "bin" / "python"
        self.log = path / "setup.log"
        self.stamp = path / "setup.stamp"
        # There while packages are being written: what pip finds then may be half a package.
        self.unsafe = path / "setup.unsafe"

    def is_ready(self) -> bool:
        """Whether a run with the same requirements has been completed here."""
        return (
            self.python.exists()
            and self.stamp.exists()
            and self.stamp.read_text() == self.fingerprint()
        )

    def finish(self) -> None:
        """Remember that everything is installed."""
        new = self.stamp.with_suffix(".new")
        new.write_text(self.fingerprint())
        os.replace(str(new), str(self.stamp))

    def fingerprint(self) -> str:
        """A hash of all that decides what is installed here."""
        files = [REQUIREMENTS, *sorted(Path(__file__).parent.glob("setup_*.py"))]
        content = b"".join(path.read_bytes() for path in files)
        content += f"{sys.version} {self.path} {ROOT}".encode()
        return hashlib.sha256(content).hexdigest()

    def create(self) -> None:
        """Make the environment, or keep one that is sound."""
        trash = self.path.with_name(self.path.name + ".old")
        if trash.exists():
            shutil.rmtree(str(trash))
        settings = self.path / "pyvenv.cfg"
        if self.path.exists() and not self.unsafe.exists() and settings.exists():
            version = re.search(r"version\S* *= *(\d+)\.(\d+)", settings.read_text())
            same = version and tuple(map(int, version.groups())) == sys.version_info[:2]
            if same and self.python.exists():
                return
        elif self.path.exists() and not self.unsafe.exists() and any(self.path.iterdir()):
            raise SetupError(f"{self.path} exists and is no virtual environment. Move it away.")
        if self.path.exists():
            # First out of the way in one move: a folder half deleted must not be taken for one.
            self.path.rename(trash)
            shutil.rmtree(str(trash))
        self.path.mkdir(parents=True)
        self.unsafe.touch()
        self.run(sys.executable, "-m", "venv", self.path)
        self.unsafe.unlink()

    def run(self, *command, **kwargs) -> list:
        """Run a command with its output in the log; see `setup_progress.run`."""
        return run(list(command), self.log, keep_open=(self.lock,), **kwargs)

    def pip(self, *args, **kwargs) -> list:
        """Run pip's command `args` in the environment."""
        # Since pip 24.1 its progress can be read; the first step updates an older one.
        version = next(self.path.glob("lib/python*/site-packages/pip-*.dist-info")).name[4:]
        bar = "raw" if tuple(map(int, version.split(".")[:2])) >= (24, 1) else "off"
        options = ["--disable-pip-version-check", "--no-input", f"--progress-bar={bar}"]
        return self.run(self.python, "-m", "pip", args[0], *options, *args[1:], **kwargs)

    def install(self, *args) -> None:
        """Let pip install `args`; if it is interrupted, the next run starts with a new folder."""
        if not args:
            return
        self.unsafe.touch()
        try:
            self.pip("install", *args)
        except CommandError as error:
            if not any(line.startswith("Installing collected") for line in error.lines):
                self.unsafe.unlink()
            raise
        self.unsafe.unlink()

    def works(self, code: str) -> bool:
        """Whether Python code runs without an error in the environment."""
        try:
            self.run(self.python, "-c", code, cwd=self.path)
        except CommandError:
            return False
        return True


def requirements(names: tuple = (), without: tuple = ()) -> list:
    """The requirements called `names` (default: all) but not those `without`."""
    lines = [line.split(" #")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    named = [(re.split("[^A-Za-z0-9_.-]", line)[0].lower(), line) for line in lines if line]
    return [
        line for name, line in named if name and name not in without and name in (names or [name])
    ]


def mend_opencv(env: Environment) -> None:
    """Take OpenCV without windows where the system lacks the libraries that windows need."""
    headless = requirements(("opencv-python-headless",))
    if headless and not env.works("import cv2"):
        env.install("--force-reinstall", "--no-deps", *headless)


def set_up(env: Environment) -> None:
    """Install everything into an environment.

    Raises:
        SetupError: If the machine lacks something.
        CommandError: If a step fails for another reason.
    """
    start = time.monotonic()
    check_venv_module()
    mmcv = MmcvWheel(env, requirements(MMCV))
    if not mmcv.may_be_cached():
        mmcv.compiler = check_compiler()
    if not list(env.path.glob("lib/python*/site-packages/torch/version.py")):
        home, temporary = Path.home(), tempfile.gettempdir()
        check_disk([(env.path, VENV_SIZE), (temporary, UNPACK_SIZE), (home, CACHE_SIZE)])

    rest = requirements(without=BUILD_TOOLS + TORCH + MMCV)
    steps = [
        (f"virtual environment {env.path}", env.create),
        ("build tools", lambda: env.install(*requirements(BUILD_TOOLS))),
        ("PyTorch", lambda: env.install(*requirements(TORCH))),
        (
            "the other packages",
            # Packages without wheels build with the tools that are already here.
            lambda: rest and env.install("--no-build-isolation", *requirements(TORCH), *rest),
        ),
        ("OpenCV", lambda: mend_opencv(env)),
        ("mmcv with its operators", mmcv.install),
        (
            "mmres_plugin",
            lambda: env.install("--no-deps", "--no-build-isolation", "--editable", str(ROOT)),
        ),
    ]
    for number, (title, step) in enumerate(steps, 1):
        print(f"[{number}/{len(steps)}] {title}", flush=True)
        step()
    env.run(env.python, "-c", "import mmres_plugin", cwd=env.path)
    env.finish()
    print(f"Ready after {clock(time.monotonic() - start)}: source {env.path}/bin/activate")


def take_lock(path: Path) -> int:
    """Return the descriptor of a lock that ends with the last process that holds it."""
    try:
        import fcntl
    except ImportError:
        raise SetupError("This set-up runs on Linux and macOS. On Windows use WSL.") from None

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 20).decode() or "unknown"
        raise SetupError(
            f"Another set-up of the same folder is at work (process {holder}). Wait for it."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--venv", default=str(ROOT / ".venv"), help="folder to make it in")
    path = Path(parser.parse_args().venv).absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    env = None
    try:
        check_python()
        env = Environment(path, take_lock(path.with_name(path.name + ".lock")))
        if env.is_ready():
            print(f"{path} is up to date.")
        else:
            set_up(env)
        return 0
    except SetupError as error:
        print(f"\nset-up stopped: {error}", file=sys.stderr)
    except CommandError as error:
        reason = explain(error.lines)
        if not reason:
            reason = "{}. Its last lines:\n{}".format(error, "\n".join(error.lines[-15:]))
        print(f"\nset-up stopped: {reason}\nThe whole output: {env.log}", file=sys.stderr)
    except OSError as error:
        print(f"\nset-up stopped: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nset-up interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
