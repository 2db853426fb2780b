"""What a machine needs before anything is installed, each check ending in one clear sentence.

Read by whatever Python is there, also one that is too old: plain syntax and standard library only.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setup_progress import SetupError

OLDEST, NEWEST = (3, 10), (3, 12)

# Uses what PyTorch's headers use first: C++17, its library, and Python's headers.
PROGRAM = """
#include <Python.h>
#include <filesystem>
#include <optional>
std::optional<int> answer() { return std::filesystem::path("a").empty() ? 0 : 42; }
"""


def check_python(version: tuple = sys.version_info[:2]) -> None:
    """Raise SetupError unless `version`, (major, minor), is one that is supported."""
    version = tuple(version)
    if not OLDEST <= version <= NEWEST:
        fault = "old" if version < OLDEST else "new"
        raise SetupError(
            "Python {}.{} is too {}: mmres_plugin needs Python 3.10, 3.11 or 3.12. Name one that "
            "is installed, for example: make setup PYTHON=python3.12".format(*version, fault)
        )


def check_venv_module() -> None:
    """Raise SetupError where Python comes without the parts that make a virtual environment."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                "Python's module {} is missing. On Debian and Ubuntu: sudo apt install "
                "python{}.{}-venv".format(module, *sys.version_info[:2])
            )


def check_compiler() -> str:
    """Return the name of a C++ compiler that builds a small extension, or raise SetupError."""
    candidates = [os.environ["CXX"]] if "CXX" in os.environ else ["c++", "g++", "clang++"]
    compiler = next((name for name in candidates if shutil.which(name.split()[0])), None)
    if compiler is None:
        raise SetupError(
            "No C++ compiler was found (looked for {}); it is needed to compile mmcv's operators. "
            "On Debian and Ubuntu: sudo apt install g++".format(", ".join(candidates))
        )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "check.cpp")
        source.write_text(PROGRAM)
        command = [*compiler.split(), "-std=c++17", "-fPIC", "-c", str(source)]
        command += ["-I" + sysconfig.get_paths()["include"], "-o", str(source.with_suffix(".o"))]
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
    if "Python.h" in result.stdout and result.returncode != 0:
        raise SetupError(
            "Python's header files are missing; they are needed to compile mmcv's operators. "
            "On Debian and Ubuntu: sudo apt install python{}.{}-dev".format(*sys.version_info[:2])
        )
    if result.returncode != 0:
        raise SetupError(
            f"The C++ compiler {compiler} cannot build a small C++17 program; g++ 9 or newer or "
            f"clang++ 10 or newer is needed. It said:\n{result.stdout.strip()[-1000:]}"
        )
    return compiler


def check_disk(needs: list) -> None:
    """Raise SetupError if a disk has too little room.

    Args:
        needs (list): Pairs of a path and the gigabytes that will be written there. What goes to
            the same disk is added up.
    """
    disks = {}
    for path, size in needs:
        path = Path(path).absolute()
        while not path.exists():
            path = path.parent
        device = os.stat(str(path)).st_dev
        first, total = disks.get(device, (path, 0))
        disks[device] = (first, total + size)
    for path, size in disks.values():
        free = shutil.disk_usage(str(path)).free / 1e9
        if free < size:
            raise SetupError(
                f"Too little disk space: the set-up needs about {size:.0f} GB on the disk of "
                f"{path}, {free:.1f} GB are free."
            )


def explain(lines: list) -> str:
    """Return a sentence on why a command failed with these lines of output, or ''."""
    output = "\n".join(lines)
    if re.search("No space left on device|Disk quota exceeded", output):
        return "The disk is full. Make room, then run the same command again."
    if re.search(
        "NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|ProxyError"
        "|SSLError|Temporary failure in name resolution|Network is unreachable|Connection refused",
        output,
    ):
        return (
            "The package index cannot be reached. Check the network, the proxy and what "
            "`pip config list` shows, then run the same command again."
        )
    found = re.search("No matching distribution found for ([^ \n]+)", output)
    if found:
        return (
            f"The package index has no {found.group(1)} for this machine (Python "
            "{}.{}, {}). Check what `pip config list` shows.".format(
                *sys.version_info[:2], sysconfig.get_platform()
            )
        )
    if re.search("Killed signal terminated program|virtual memory exhausted", output):
        return "The compiler ran out of memory. Run it with fewer at once: MAX_JOBS=1 make setup"
    return ""
