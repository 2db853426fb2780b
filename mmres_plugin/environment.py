"""What is installed here, as a bug report needs it."""

import os
import platform
from importlib import import_module, metadata
from pathlib import Path

import torch

from .dependencies import OPTIONAL, REQUIRED, check_compiled_ops
from .errors import shortened
from .version import __version__

FORKS = "onedl-"  # what the names of the maintained forks start with
OTHERS = (
    *("torchvision", "numpy", "opencv-python", "opencv-python-headless", "pycocotools", "timm"),
    *("safetensors", "huggingface_hub", "onnx", "onnxruntime", "tensorboard"),
)


def describe() -> dict[str, str]:
    """Names and versions of all that matters, in the order of interest."""
    rows = {
        "mmres_plugin": f"{__version__} ({Path(__file__).parent})",
        "Python": f"{platform.python_version()} ({platform.platform()})",
        "CPU": f"{processor()}, {torch.get_num_threads()} threads",
        "GPU": gpus(),
    }
    owners = distributions()
    for need in (*REQUIRED, *OPTIONAL):
        found = owners.get(need.package, [])
        if need.package == "torch":
            built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
            rows["torch"] = f"{torch.__version__}, built for {built}"
        else:
            names = [f"{name} {metadata.version(name)}" for name in found]
            rows[need.package] = ", ".join(names) or "not installed"
        if need.package == "mmcv":
            rows["mmcv operators"] = operators()
    rows.update({name: version(name) for name in OTHERS if version(name)})
    return rows


def problems() -> list[str]:
    """What does not fit together: a sentence each; none if all is well."""
    owners = distributions()
    found = {
        need.package: owners.get(need.package, [])
        for need in (*REQUIRED, *OPTIONAL)
        if need.package != "torch"
    }
    said = [
        f"{package} is installed twice, by {' and '.join(names)}, which overwrite each other's "
        f"files: pip uninstall -y {' '.join(names)}, then install one of them"
        for package, names in found.items()
        if len(names) > 1
    ]
    forks = [name for names in found.values() for name in names if name.startswith(FORKS)]
    originals = [name for names in found.values() for name in names if name not in forks]
    if forks and originals:
        said.append(
            f"two families of packages are mixed: {shortened(forks)} beside {shortened(originals)}"
        )
    try:
        check_compiled_ops(cuda=torch.cuda.is_available())
    except ImportError as error:
        said.append(str(error))
    return said


def distributions() -> dict[str, list[str]]:
    """Which distributions each importable package is from."""
    return {name: sorted(set(found)) for name, found in metadata.packages_distributions().items()}


def version(name: str) -> str:
    """The version of a distribution, or an empty string."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def operators() -> str:
    """What MMCV's compiled operators run on."""
    try:
        import_module("mmcv._ext")
    except ImportError as error:
        return f"none ({error}): detectors will not work"
    cuda = import_module("mmcv.ops").get_compiling_cuda_version()
    return "CPU" if cuda == "not available" else f"CPU and CUDA {cuda}"


def processor() -> str:
    """The CPU by the name that its maker gave it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(errors="replace").splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} × {(names or [platform.machine()])[0]}"


def gpus() -> str:
    """The GPUs that PyTorch sees."""
    found = range(torch.cuda.device_count())
    return ", ".join(torch.cuda.get_device_name(index) for index in found) or "none"
