"""Check on import that the packages the plugin needs are installed and fit.

They cannot be requirements of our distribution: the maintained forks (onedl-*) and the originals
have the same import packages under different names, and pip would install one family over the
other. So this module checks the packages that Python really imports.
"""

import re
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple


class Dependency(NamedTuple):
    """A package and the versions that fit.

    Args:
        package (str): Name in import statements.
        oldest (str): First version that fits.
        limit (str): First version that no longer fits.
        tested (str): Command that installs the tested version.
        original (str): Command that installs the original package.
    """

    package: str
    oldest: str
    limit: str
    tested: str
    original: str


REQUIRED = (
    Dependency("torch", "2.6", "3", "pip install torch==2.11.0", "https://pytorch.org"),
    Dependency(
        "mmengine", "0.10", "1", "pip install onedl-mmengine==0.10.12", "mim install mmengine"
    ),
    Dependency(
        "mmcv",
        "2.0",
        "3",
        # If pip isolates the build from torch, mmcv silently lacks its operators.
        "pip install --no-build-isolation onedl-mmcv==2.3.6",
        "mim install 'mmcv>=2.0.1,<2.2'",
    ),
    Dependency(
        "mmpretrain", "1.0", "2", "pip install onedl-mmpretrain==1.3.6", "mim install mmpretrain"
    ),
)
# Only detectors need these, so a problem is a warning, not an error.
OPTIONAL = (
    Dependency("mmdet", "3.0", "4", "pip install onedl-mmdetection==3.5.1", "mim install mmdet"),
)


def check_dependencies() -> None:
    """Check the packages that the plugin needs; warn if MMDetection is installed but does not fit.

    Raises:
        ImportError: If a package is missing, cannot be imported, or is too old or too new. The
            message names it, the version found, the versions that fit and how to install one.
    """
    missing = [need for need in REQUIRED if find_spec(need.package) is None]
    if missing:
        names = ", ".join(need.package for need in missing)
        raise ImportError(f"mmres_plugin needs {names}: not installed. {_how_to_get(*missing)}")
    for need in REQUIRED:
        _check_version(need)
    for need in OPTIONAL:
        if find_spec(need.package):
            try:
                _check_version(need)
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
    mmcv = next(need for need in REQUIRED if need.package == "mmcv")
    try:
        import_module("mmcv._ext")
    except ImportError as error:
        raise ImportError(
            f"detectors need mmcv's compiled operators, which cannot be imported ({error}). "
            "Classification works without them. Uninstall this mmcv (mmcv-lite, or built without "
            f"torch or for another one) and install one with operators. {_how_to_get(mmcv)}"
        ) from error
    if cuda and import_module("mmcv.ops").get_compiling_cuda_version() == "not available":
        raise ImportError(
            "detectors on a GPU need mmcv's operators compiled for CUDA, but this mmcv has them "
            "for the CPU only. It was probably built without nvcc: install CUDA's compiler and "
            "build mmcv again, or use the CPU by putting CUDA_VISIBLE_DEVICES= before the command. "
            f"{_how_to_get(mmcv)}"
        )


def _check_version(need: Dependency) -> None:
    try:
        module = import_module(need.package)
    except (ImportError, AssertionError) as error:
        # The mm packages assert each other's versions.
        raise ImportError(
            f"mmres_plugin needs {need.package}, which is installed but cannot be imported: "
            f"{error}\n{_how_to_get(need)}"
        ) from error
    found = module.__version__
    if not _release(need.oldest) <= _release(found) < _release(need.limit):
        raise ImportError(
            f"mmres_plugin needs {need.package} >={need.oldest}, <{need.limit}, but version "
            f"{found} is installed ({module.__file__}). {_how_to_get(need)}"
        )


def _release(version: str) -> tuple[int, ...]:
    """The numbers at the start of a version: ``'2.11.0+cu130'`` is ``(2, 11, 0)``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _how_to_get(*needs: Dependency) -> str:
    lines = ["Install the tested version:"]
    lines += [f"    {need.tested}" for need in needs]
    lines += ["or, if your environment has the original packages instead of the onedl-* forks:"]
    lines += [f"    {need.original}" for need in needs]
    lines += [
        "Do not mix the two families: they overwrite each other's files. `make setup` in the",
        "repository of mmres_plugin installs a complete environment.",
    ]
    return "\n".join(lines)
