"""mmcv with its compiled operators: from the user's cache, or compiled and put there."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from command import SetupError, cache, explain

# Uses what PyTorch's headers use first: Python's headers, C++17 and its library.
PROGRAM = "#include <Python.h>\n#include <filesystem>\n#include <optional>\nstd::optional<int> x;"
FACTS = """
import json, subprocess, torch
from torch.utils.cpp_extension import CUDA_HOME
cuda, said = torch.version.cuda, subprocess.getoutput(f"'{CUDA_HOME}/bin/nvcc' --version")
nvcc = bool(cuda) and f"release {cuda.split('.')[0]}." in said
gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
archs = sorted({"%d.%d" % torch.cuda.get_device_capability(gpu) for gpu in gpus})
print(json.dumps([torch.__version__, cuda, CUDA_HOME if nvcc else None, archs]))
"""
PROOF = """
import torch
from mmcv.ops import nms
boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9], [20, 20, 30, 30]], device="{0}")
kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device="{0}"), 0.5)[1].tolist()
assert kept == [0, 2], kept
"""


def check_compiler() -> str:
    """Return the name of a C++ compiler that can compile an extension, or raise SetupError."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ["c++", "g++", "clang++"]), "c++")
    command = f"{compiler} -std=c++17 -I'{sysconfig.get_paths()['include']}' -x c++ -S -o - -"
    result = subprocess.run(command, shell=True, input=PROGRAM, capture_output=True, text=True)
    if result.returncode != 0:
        raise SetupError(
            explain(result.stderr)
            or f"The C++ compiler {compiler} cannot build a small C++17 program; g++ 9 or newer or "
            f"clang++ 10 or newer is needed. It said:\n{result.stderr.strip()[-1000:]}"
        )
    return compiler


def folder(mmcv: str, torch: str = "*", device: str = "*") -> Path:
    """Where a build is kept: the operators fit one PyTorch, one Python and one kind of machine."""
    python = "cp{}{}-{}".format(*sys.version_info[:2], sysconfig.get_platform())
    return cache() / "wheels" / f"{mmcv.replace('==', '-')}-torch-{torch}-{python}-{device}"


def install(env, mmcv: str) -> None:
    """Install the wheel into an Environment and prove that its operators work."""
    facts = env.run(env.python, "-I", "-c", FACTS).splitlines()[-1]
    torch, cuda, cuda_home, present = json.loads(facts)
    # PyTorch's own variable for extensions: on a login node it names the GPUs of other machines.
    archs = sorted(re.findall("[^;, ]+", os.environ.get("TORCH_CUDA_ARCH_LIST", ""))) or present
    gpu = bool(archs and cuda_home)
    if archs and not gpu:
        print(
            f"      For GPUs ({', '.join(archs)}) an nvcc of PyTorch's CUDA ({cuda or 'none'}) is "
            "missing. mmcv's operators will only run on the CPU, so detectors on the GPU will "
            f"fail. Install CUDA's compiler, remove {env.path} and run this again."
        )
    proof = PROOF.format("cuda" if gpu and present else "cpu")
    kept = folder(mmcv, torch, f"cu{cuda}-sm{'_'.join(archs)}" if gpu else "cpu")
    for wheel in kept.glob("*.whl"):
        print(f"      from the cache: {wheel}")
        env.uv("--no-deps", "--reinstall", wheel)
        if env.works(proof):
            return
        print("      It does not work with the installed PyTorch; compiling again.")
        wheel.unlink()

    variables = {**os.environ, "CXX": check_compiler()}
    for name in ("CFLAGS", "CXXFLAGS"):  # without debug symbols the wheel is a fifth of the size
        variables[name] = variables.get(name, "") + " -g0"
    if gpu:
        variables.update(FORCE_CUDA="1", CUDA_HOME=cuda_home, TORCH_CUDA_ARCH_LIST=";".join(archs))
    else:  # mmcv looks for a GPU by itself; a compiler for it may be missing or of another CUDA
        variables.update(FORCE_CUDA="0", CUDA_VISIBLE_DEVICES="")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (3e9 if gpu else 1.5e9)
    jobs = variables.setdefault("MAX_JOBS", str(max(1, min(cores, int(memory)))))
    target = "GPU " + ", ".join(archs) if gpu else "CPU"
    print(f"      compiling for {target}, {jobs} files at once (10 minutes with 2 cores)")
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as new:
        # No isolation: without PyTorch in sight mmcv builds without operators and does not say so.
        # No cache: pip would offer a build made for another PyTorch.
        options = "--no-build-isolation --no-cache-dir --no-deps --no-binary=:all: --verbose"
        options = [*options.split(), f"--wheel-dir={new}"]
        env.run(env.python, "-m", "pip", "wheel", *options, mmcv, env=variables)
        wheel = next(Path(new).glob("*.whl"))
        env.uv("--no-deps", "--reinstall", wheel)
        if not env.works(proof):
            raise SetupError(f"mmcv was compiled but does not work. See the end of {env.log}")
        wheel.replace(kept / wheel.name)
