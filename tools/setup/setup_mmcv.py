"""mmcv with its compiled operators: from the user's cache, or compiled and put there.

Read by whatever Python is there, also one that is too old: plain syntax and standard library only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from setup_checks import check_compiler
from setup_progress import SetupError

QUESTIONS = """
import json, torch
gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
archs = sorted({"%d.%d" % torch.cuda.get_device_capability(gpu) for gpu in gpus})
print(json.dumps(dict(torch=torch.__version__, cuda=torch.version.cuda, archs=archs)))
"""
PROOF = """
import torch
from mmcv.ops import nms
boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9], [20, 20, 30, 30]], device="{0}")
kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device="{0}"), 0.5)[1].tolist()
assert kept == [0, 2], kept
"""


class MmcvWheel:
    """The wheel of mmcv that fits this machine.

    Args:
        env (Environment): Where it is compiled and installed.
        requirement (list): The requirement, ``name==version``, in a list; empty: no mmcv at all.
    """

    def __init__(self, env, requirement: list) -> None:
        self.env = env
        self.requirement = requirement
        self.compiler = None
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        cache = os.environ.get("MMRES_CACHE") or str(Path(home, "mmres_plugin"))
        self.wheels = Path(cache).expanduser().absolute() / "wheels"

    def key(self, torch: str, device: str) -> str:
        """Name of a build: the operators fit one PyTorch, one Python and one kind of machine."""
        mmcv = self.requirement[0].replace("==", "-")
        python = "cp{}{}".format(*sys.version_info[:2])
        return f"{mmcv}-torch-{torch}-{python}-{sysconfig.get_platform()}-{device}"

    def may_be_cached(self) -> bool:
        """Whether a compiler is dispensable, as far as one can tell before PyTorch is there."""
        return not self.requirement or any(self.wheels.glob(self.key("*", "*") + "/*.whl"))

    def install(self) -> None:
        """Install the wheel and prove that its operators work.

        Raises:
            SetupError: If it has no operators, or they do not run.
        """
        if not self.requirement:
            return
        answers = json.loads(self.env.run(self.env.python, "-c", QUESTIONS)[-1])
        # PyTorch's own variable for extensions: on a login node it names the GPUs of the others.
        asked = re.split("[;, ]+", os.environ.get("TORCH_CUDA_ARCH_LIST", ""))
        archs = sorted(filter(None, asked)) or answers["archs"]
        nvcc = find_nvcc(answers["cuda"]) if archs else None
        if archs and not nvcc:
            print(
                "      For GPUs ({}) an nvcc of PyTorch's CUDA ({}) is missing. mmcv's operators "
                "will only run on the CPU, so detectors on the GPU will fail. Install CUDA's "
                "compiler, remove {} and run this again.".format(
                    ", ".join(archs), answers["cuda"] or "none", self.env.path
                )
            )
        device = "cu{}-sm{}".format(answers["cuda"], "_".join(archs)) if nvcc else "cpu"
        proof = PROOF.format("cuda" if nvcc and answers["archs"] else "cpu")
        folder = self.wheels / self.key(answers["torch"], device)

        for cached in folder.glob("*.whl"):
            print(f"      from the cache: {cached}")
            self.env.install("--no-deps", "--force-reinstall", str(cached))
            if self.env.works(proof):
                return
            print("      It does not work with the installed PyTorch; compiling again.")
            cached.unlink()

        wheel = self.compile(nvcc, archs)
        self.env.install("--no-deps", "--force-reinstall", str(wheel))
        if not self.env.works(proof):
            raise SetupError(f"mmcv was compiled but does not work. See the end of {self.env.log}")
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{wheel.name}.{os.getpid()}"
        shutil.copyfile(str(wheel), str(unfinished))
        os.replace(str(unfinished), str(folder / wheel.name))

    def compile(self, nvcc, archs: list) -> Path:
        """Compile the wheel, for the CPU if `nvcc` is None, and return where it lies."""
        jobs = os.environ.get("MAX_JOBS") or str(parallel_jobs(3 if nvcc else 1.5))
        target = "GPU " + ", ".join(archs) if nvcc else "CPU"
        print(f"      compiling for {target}, {jobs} files at once (10 minutes with 2 cores)")
        variables = dict(os.environ, MAX_JOBS=jobs, CXX=self.compiler or check_compiler())
        for name in ("CFLAGS", "CXXFLAGS"):
            # Without debug symbols the wheel is a fifth of the size.
            variables[name] = (variables.get(name, "") + " -g0").strip()
        if nvcc:
            variables.update(FORCE_CUDA="1", CUDA_HOME=str(nvcc.parents[1]))
            variables["TORCH_CUDA_ARCH_LIST"] = ";".join(archs)
        else:
            # mmcv looks for a GPU by itself; a compiler for it may be missing or of another CUDA.
            variables.update(FORCE_CUDA="0", CUDA_VISIBLE_DEVICES="")
        output = self.env.path / "mmcv-wheel"
        if output.exists():
            shutil.rmtree(str(output))
        # No isolation: without PyTorch in sight mmcv builds without operators and does not say so.
        # No cache: pip would offer a build made for another PyTorch.
        options = ["--no-build-isolation", "--no-cache-dir", "--no-deps", "--verbose"]
        options += ["--no-binary", "onedl-mmcv", "--wheel-dir", str(output)]
        self.env.pip("wheel", *options, *self.requirement, env=variables)
        wheel = next(output.glob("*.whl"))
        with zipfile.ZipFile(str(wheel)) as archive:
            if not any(name.startswith("mmcv/_ext") for name in archive.namelist()):
                raise SetupError(f"mmcv was built without its operators. See {self.env.log}")
        return wheel


def find_nvcc(cuda: str):
    """Return the Path of an nvcc whose major version is that of `cuda` ('13.0'), else None."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    found = [shutil.which("nvcc"), *(str(Path(home, "bin", "nvcc")) for home in homes if home)]
    for path in found:
        if not path or not os.access(path, os.X_OK):
            continue
        result = subprocess.run([path, "--version"], stdout=subprocess.PIPE, encoding="utf-8")
        release = re.search(r"release (\d+)\.", result.stdout)
        if release and cuda and release.group(1) == cuda.split(".")[0]:
            return Path(path).resolve()
    return None


def parallel_jobs(gigabytes: float) -> int:
    """How many compilers this machine can run at once, each taking that much memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return cores  # a system that does not tell
    return max(1, min(cores, int(memory / 1e9 / gigabytes)))
