"""What is installed, in which order, and what a second run does."""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

from environment import HERE, REQUIREMENTS, ROOT, Environment, SetupError, cache, explain, pinned

# What uv must leave out of a file of requirements, and what it may build packages with.
LIMITS = ("--excludes", HERE / "excludes.txt", "--build-constraints", REQUIREMENTS)
SIZE = 6.5  # gigabytes: all packages, with PyTorch's CUDA packages, and some room
# Uses what PyTorch's headers use first: Python's headers, C++17 and its library.
PROGRAM = "#include <Python.h>\n#include <filesystem>\n#include <optional>\nstd::optional<int> x;"
FACTS = """
import json, os, subprocess, torch
from torch.utils.cpp_extension import CUDA_HOME
gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
archs = {"%d.%d" % torch.cuda.get_device_capability(gpu) for gpu in gpus}
# PyTorch's own variable for extensions: on a login node it names the GPUs of other machines.
archs = set(os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(";", " ").split()) or archs
cuda, said = str(torch.version.cuda), subprocess.getoutput(f"'{CUDA_HOME}/bin/nvcc' --version")
nvcc = f"release {cuda.split('.')[0]}." in said
print(json.dumps([torch.__version__, cuda, nvcc, sorted(archs), bool(gpus)]))
"""
PROOF = """
import torch
from mmcv.ops import nms
boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9], [20, 20, 30, 30]], device="{0}")
kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device="{0}"), 0.5)[1].tolist()
assert kept == [0, 2], kept
"""


def wheel_folder(torch: str = "*", device: str = "*") -> Path:
    """Where mmcv is kept: its operators fit one PyTorch, one Python and one kind of machine."""
    mmcv = pinned("onedl-mmcv").replace("==", "-")
    python = "cp{}{}-{}".format(*sys.version_info[:2], sysconfig.get_platform())
    return cache() / "wheels" / f"{mmcv}-torch-{torch}-{python}-{device}"


def check_machine(venv: Path) -> None:
    """Raise SetupError if a compiler or room on the disk is missing and they will be needed."""
    os.environ.setdefault("CXX", "c++")
    command = f"$CXX -std=c++17 -I'{sysconfig.get_paths()['include']}' -x c++ -S -o - -"
    result = subprocess.run(command, shell=True, input=PROGRAM, capture_output=True, text=True)
    if result.returncode != 0 and not any(cache().glob(f"wheels/{wheel_folder().name}/*.whl")):
        fault = "The C++ compiler cannot build a small C++17 program, as g++ 9 or clang++ 10 can"
        raise SetupError(explain(result.stderr) or f"{fault}. It said:\n{result.stderr[-1000:]}")
    uv_cache = cache("UV_CACHE_DIR", "uv")
    cached = any(uv_cache.glob("archive-v*/*/torch/version.py"))
    for folder in (uv_cache, venv.parent):
        free = shutil.disk_usage(folder).free / 1e9
        if free < SIZE and not cached:
            fault = f"Too little disk space: the set-up needs about {SIZE} GB on the disk of"
            raise SetupError(f"{fault} {folder}, {free:.1f} GB are free.")


def install_mmcv(env: Environment) -> None:
    """Install mmcv from a kept wheel whose operators work; without one, compile it."""
    facts = env.run(env.python, "-I", "-c", FACTS).splitlines()[-1]
    torch, cuda, nvcc, archs, present = json.loads(facts)
    gpu, names = nvcc and bool(archs), ", ".join(archs)
    if archs and not nvcc:
        print(
            f"      For GPUs ({names}) an nvcc of PyTorch's CUDA ({cuda}) is missing. Without it "
            "mmcv's operators run on the CPU alone, and detectors on the GPU will fail. Install "
            f"CUDA's compiler, remove {env.path} and run this again."
        )
    kept = wheel_folder(torch, f"cu{cuda}-sm{'_'.join(archs)}" if gpu else "cpu")
    proof = PROOF.format("cuda" if gpu and present else "cpu")
    for wheel in kept.glob("*.whl"):
        print(f"      from the cache: {wheel}")
        try:
            return install_wheel(env, wheel, proof)
        except SetupError:
            print("      It does not work with the installed PyTorch; compiling again.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (3e9 if gpu else 1.5e9)
    jobs = os.environ.setdefault("MAX_JOBS", str(max(1, min(cores, int(memory)))))
    target = f"GPU {names}" if gpu else "CPU"
    print(f"      compiling for {target}, {jobs} files at once (10 minutes with 2 cores)")
    os.environ.update(FORCE_CUDA=str(int(gpu)), TORCH_CUDA_ARCH_LIST=";".join(archs))
    os.environ["CFLAGS"] = os.environ.get("CFLAGS", "") + " -g0"  # a fifth of the wheel's size
    if not gpu:  # mmcv would compile for one that it sees, perhaps with another CUDA's nvcc
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # No isolation: without PyTorch in sight mmcv builds without operators and does not say so.
    # No cache: pip would offer a build made for another PyTorch.
    options = "--no-build-isolation --no-cache-dir --no-deps --no-binary=:all: -v --wheel-dir"
    env.run(env.python, "-m", "pip", "wheel", *options.split(), kept, pinned("onedl-mmcv"))
    install_wheel(env, next(kept.glob("*.whl")), proof)


def install_wheel(env: Environment, wheel: Path, proof: str) -> None:
    """Install a wheel of mmcv and prove that its operators work, or raise SetupError."""
    env.install("--no-deps", "--reinstall", wheel)
    env.run(env.python, "-I", "-c", proof)


def set_up(env: Environment) -> None:
    """Install everything into an environment, or raise SetupError."""
    check_machine(env.path)
    print(f"[1/4] virtual environment {env.path}", flush=True)
    env.create()
    print("[2/4] PyTorch, the other packages and mmres_plugin", flush=True)
    env.install("-r", REQUIREMENTS, *LIMITS, "--editable", ROOT)
    env.restore_bytecode()
    print("[3/4] mmcv with its operators", flush=True)
    install_mmcv(env)
    print("[4/4] first import", flush=True)
    # Isolated, so that this also compiles the Python files that every start needs.
    env.run(env.python, "-I", "-c", "import mmres_plugin")
    env.keep_bytecode()


def main() -> None:
    """Run the set-up."""
    parser = argparse.ArgumentParser(description="Make the environment of this repository.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder to make it in")
    parser.add_argument("--also", type=Path, help="a file of further packages to install")
    args = parser.parse_args()
    path = args.venv.absolute()
    files = [REQUIREMENTS, ROOT / "pyproject.toml", *sorted(HERE.glob("*.*"))]
    content = "".join([sys.version, f"{path} {ROOT}", *(file.read_text() for file in files)])
    wanted = hashlib.sha256(content.encode()).hexdigest()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        env = Environment(path)
        if env.stamp.exists() and env.stamp.read_text() == wanted and env.python.exists():
            print(f"{path} is up to date.")
        else:
            set_up(env)
            print(f"Ready: source {path}/bin/activate")
        if args.also:
            env.install("-r", args.also, *LIMITS)
        env.stamp.write_text(wanted)
    except (SetupError, OSError) as error:
        sys.exit(f"\nset-up stopped: {explain(str(error)) or error}")
    except KeyboardInterrupt:
        print("\nset-up interrupted; run the same command to continue.", file=sys.stderr)
        sys.exit(130)
