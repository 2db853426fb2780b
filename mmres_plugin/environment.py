"""The packages that the plugin needs: are they here and do they fit, and what a bug report lists.

They cannot be requirements of our distribution: the maintained forks (onedl-*) and the originals
have the same import packages under different names, and pip would install one family over the
other. So the packages that Python really imports are checked.
"""

import os
import platform
import re
import warnings
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .errors import shortened
from .version import __version__


class Dependency(NamedTuple):
    """A package, by its name in import statements, and its versions that fit."""

    package: str
    oldest: str  # the first that fits
    limit: str  # the first that no longer fits
    tested: str  # what pip installs for the tested version
    original: str  # the command that installs the original package


# If pip isolates the build from torch, mmcv silently lacks its operators.
MMCV = "--no-build-isolation onedl-mmcv==2.3.6"
REQUIRED = (
    Dependency("torch", "2.6", "3", "torch==2.11.0", "https://pytorch.org"),
    Dependency("mmengine", "0.10", "1", "onedl-mmengine==0.10.12", "mim install mmengine"),
    Dependency("mmcv", "2.0", "3", MMCV, "mim install 'mmcv>=2.0.1,<2.2'"),
    Dependency("mmpretrain", "1.0", "2", "onedl-mmpretrain==1.3.6", "mim install mmpretrain"),
)
# Only detectors need it, so a problem is a warning, not an error.
MMDET = Dependency("mmdet", "3.0", "4", "onedl-mmdetection==3.5.1", "mim install mmdet")
# Other packages that a bug report lists if they are installed.
ALSO_LISTED = (
    *("torchvision", "numpy", "opencv-python", "opencv-python-headless", "pycocotools", "timm"),
    *("safetensors", "huggingface_hub", "onnx", "onnxruntime", "tensorboard"),
)


def check_dependencies() -> None:
    """Check the packages that the plugin needs; warn if MMDetection is installed but does not fit.

    Raises:
        ImportError: If a package is missing, cannot be imported, or is too old or too new. The
            message names it, the version found, the versions that fit and how to install one.
    """
    if missing := [need for need in REQUIRED if find_spec(need.package) is None]:
        names = ", ".join(need.package for need in missing)
        raise ImportError(f"mmres_plugin needs {names}: not installed. {_how_to_get(*missing)}")
    for need in REQUIRED:
        _check_version(need)
    if find_spec(MMDET.package):
        try:
            _check_version(MMDET)
        except ImportError as error:
            warnings.warn(f"Detectors will not work. {error}", stacklevel=2)


def check_compiled_ops(cuda: bool) -> None:
    """Check that mmcv has its compiled operators, which MMDetection's detectors need.

    Args:
        cuda: Whether the detectors will run on a GPU.

    Raises:
        ImportError: If this mmcv has no operators (mmcv-lite, or built without seeing torch), or
            has them for another torch, or has none for CUDA although ``cuda`` is true.
    """
    how_to_get = _how_to_get(REQUIRED[2])
    try:
        ops = import_module("mmcv.ops")
    except ImportError as error:
        raise ImportError(
            f"detectors need mmcv's compiled operators, which cannot be imported ({error}). This "
            "mmcv is mmcv-lite, or was built without torch or for another one. Classification "
            f"works without them; for detection uninstall it first. {how_to_get}"
        ) from error
    if cuda and ops.get_compiling_cuda_version() == "not available":
        raise ImportError(
            "detectors on a GPU need mmcv's operators compiled for CUDA, but this mmcv has them "
            "for the CPU only. Install CUDA's compiler (nvcc) and build mmcv again, or use the CPU "
            f"by putting CUDA_VISIBLE_DEVICES= before the command. {how_to_get}"
        )


def describe() -> dict[str, str]:
    """Names and versions of all that matters, in the order of interest."""
    import torch

    cpus = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", cpus.read_text() if cpus.exists() else "", re.M)
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    try:
        cuda = import_module("mmcv.ops").get_compiling_cuda_version()
        operators = "CPU" if cuda == "not available" else f"CPU and CUDA {cuda}"
    except ImportError as error:
        operators = f"none ({error}): detectors will not work"
    cpu = f"{os.cpu_count()} × {named[1] if named else platform.machine()}"
    versions = {found.name: found.version for found in metadata.distributions()}
    packages = {
        package: ", ".join(f"{name} {versions[name]}" for name in names) or "not installed"
        for package, names in distributions().items()
    }
    return {
        "mmres_plugin": f"{__version__} ({Path(__file__).parent})",
        "Python": f"{platform.python_version()} ({platform.platform()})",
        "CPU": f"{cpu}, {torch.get_num_threads()} threads",
        "GPU": ", ".join(gpus) or "none",
        "torch": f"{torch.__version__}, built for CUDA {torch.version.cuda}",
        **packages,
        "mmcv operators": operators,
        **{name: versions[name] for name in ALSO_LISTED if name in versions},
    }


def problems() -> list[str]:
    """What does not fit together: a sentence each; none if all is well."""
    import torch

    found = distributions()
    said = [
        f"{package} is installed twice, by {' and '.join(names)}, which overwrite each other's "
        f"files: pip uninstall -y {' '.join(names)}, then install one of them"
        for package, names in found.items()
        if len(names) > 1
    ]
    names = [name for owners in found.values() for name in owners]
    forks = [name for name in names if name.startswith("onedl-")]
    if originals := [name for name in names if forks and name not in forks]:
        mixed = f"{shortened(forks)} beside {shortened(originals)}"
        said.append(f"two families of packages are mixed: {mixed}")
    try:
        check_compiled_ops(cuda=torch.cuda.is_available())
    except ImportError as error:
        said.append(str(error))
    return said


def distributions() -> dict[str, list[str]]:
    """The distributions that each mm package is from."""
    owners = metadata.packages_distributions()
    packages = [need.package for need in (*REQUIRED[1:], MMDET)]
    return {package: sorted(set(owners.get(package, []))) for package in packages}


def _check_version(need: Dependency) -> None:
    try:
        module = import_module(need.package)
    except (ImportError, AssertionError) as error:
        # The mm packages assert each other's versions.
        raise ImportError(
            f"mmres_plugin needs {need.package}, which is installed but cannot be imported: "
            f"{error}\n{_how_to_get(need)}"
        ) from error
    # The numbers at the start of a version: '2.11.0+cu130' is [2, 11, 0].
    found, oldest, limit = (
        [*map(int, (re.match(r"[\d.]*\d", version) or ["0"])[0].split("."))]
        for version in (module.__version__, need.oldest, need.limit)
    )
    if not oldest <= found < limit:
        raise ImportError(
            f"mmres_plugin needs {need.package} >={need.oldest}, <{need.limit}, but version "
            f"{module.__version__} is installed ({module.__file__}). {_how_to_get(need)}"
        )


def _how_to_get(*needs: Dependency) -> str:
    tested = "".join(f"    pip install {need.tested}\n" for need in needs)
    originals = "".join(f"    {need.original}\n" for need in needs)
    return (
        f"Install the tested version:\n{tested}"
        "or, if your environment has the original packages instead of the onedl-* forks:\n"
        f"{originals}Do not mix the two families: they overwrite each other's files. `make setup` "
        "in the\nrepository of mmres_plugin installs a complete environment."
    )
