"""Test the plugin with other versions of Python, PyTorch and the mm packages.

    python tools/dev/compatibility.py                  # all environments of the table below
    python tools/dev/compatibility.py originals py312  # some of them

For each, uv makes an environment of its own in ``work_dirs/compatibility`` and a part of the tests
runs in it: dependencies, checkpoints, and a real training that is resumed. MMCV is installed
without its operators, which take ten minutes and more to compile for each PyTorch; ``--operators``
compiles them and adds registries and the checks of a detector.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
UV = (sys.executable, "-m", "uv")  # which make setup has installed
TORCH = ("torch==2.11.0", "torchvision==0.26.0")
# The tests' own needs, and what the mm packages import without requiring it.
TOOLS = (
    *("pytest", "pytest-timeout", "hypothesis", "timm==1.0.31", "safetensors"),
    *("setuptools<82", "wheel", "ninja"),
)
FORKS = ("onedl-mmengine==0.10.12", "onedl-mmpretrain==1.3.6", "onedl-mmdetection==3.5.1")
ORIGINALS = ("mmengine==0.10.7", "mmpretrain==1.2.0", "mmdet==3.3.0")
TESTS = (
    "tests/package/test_dependencies.py",
    "tests/weights/test_files.py::test_code_is_never_run",
    "tests/weights/test_files.py::test_loaders_of_mmengine_run_nothing",
    "tests/preflight/test_preflight.py::test_config_in_a_resumed_checkpoint_is_not_run",
)
TESTS_OF_OPERATORS = (
    "tests/package/test_registry.py",
    "tests/preflight/test_preflight.py::test_good_config_passes",
)
WITHOUT_OPERATORS = ("--deselect", "tests/package/test_dependencies.py::test_operators_are_found")


class Environment(NamedTuple):
    """What is installed.

    Attributes:
        python: The version of Python.
        torch: Requirements of PyTorch.
        packages: The mm packages but MMCV.
        mmcv: MMCV's requirement.
        mmcv_lite: The same without operators. The forks' package is built so where torch is not
            seen, as in an isolated build.
    """

    python: str = "3.11"
    torch: tuple[str, ...] = TORCH
    packages: tuple[str, ...] = FORKS
    mmcv: str = "onedl-mmcv==2.3.6"
    mmcv_lite: str = "onedl-mmcv==2.3.6"


ENVIRONMENTS = {
    "py310": Environment("3.10"),
    "py311": Environment("3.11"),
    "py312": Environment("3.12"),
    "newest": Environment("3.12", ("torch", "torchvision")),
    "oldest": Environment("3.11", ("torch==2.6.0", "torchvision==0.21.0", "numpy<2.3")),
    "originals": Environment("3.11", TORCH, ORIGINALS, "mmcv==2.1.0", "mmcv-lite==2.1.0"),
}


def run(*command: object, **variables: str) -> subprocess.CompletedProcess:
    """Run a command at the root of the repository with these variables; its output is kept."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [*map(str, command)], cwd=ROOT, env=env, check=False, text=True, capture_output=True
    )


def build(name: str, operators: bool) -> tuple[Path, str]:
    """Make the environment ``name``; returns its Python, and the error if it could not be made."""
    wanted = ENVIRONMENTS[name]
    folder = ROOT / "work_dirs" / "compatibility" / name
    python = folder / "bin" / "python"
    install = (*UV, "pip", "install", "--python", python)
    mmcv = ("--no-build-isolation", "--no-cache", wanted.mmcv) if operators else (wanted.mmcv_lite,)
    for command in (
        (*UV, "venv", "--clear", "--python", wanted.python, folder),
        (*install, *wanted.torch, *TOOLS),
        (*install, *wanted.packages),
        (*install, *mmcv),
    ):
        done = run(*command, MAX_JOBS="1")
        if done.returncode:
            return python, done.stderr[-2000:]
    return python, ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ", ".join(ENVIRONMENTS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {names}")
    parser.add_argument("--operators", action="store_true", help="compile MMCV's operators")
    args = parser.parse_args()
    unknown = set(args.names) - set(ENVIRONMENTS)
    if unknown:
        parser.error(f"no environment {', '.join(unknown)}: choose from {', '.join(ENVIRONMENTS)}")
    failed = False
    for name in args.names or ENVIRONMENTS:
        start = time.monotonic()
        python, error = build(name, args.operators)
        if not error:
            tests = (*TESTS, *(TESTS_OF_OPERATORS if args.operators else WITHOUT_OPERATORS))
            done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
            error = done.stdout[-3000:] if done.returncode else ""
            last = (done.stdout.strip().splitlines() or [""])[-1]
        listed = run(*UV, "pip", "list", "--python", python).stdout.splitlines()
        ours = [line for line in listed if line.startswith(("torch ", "mm", "onedl", "numpy "))]
        versions = ", ".join(" ".join(line.split()) for line in ours)
        seconds = time.monotonic() - start
        print(f"{name}: {'FAILED' if error else last} ({seconds:.0f} s; {versions})")
        print(error, flush=True)
        failed |= bool(error)
    sys.exit(failed)


if __name__ == "__main__":
    main()
