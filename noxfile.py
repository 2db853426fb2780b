"""Test with other versions: ``uvx nox`` (all) or ``uvx nox -s originals`` (some).

Each session runs tests of the dependencies, of checkpoints and of a real training that is resumed.
MMCV is installed without its operators, which take ten minutes to compile for each PyTorch.
"""

import nox  # pyright: ignore[reportMissingImports]  its own tool, not in the environment

nox.options.default_venv_backend = "uv"
TORCH = ("torch==2.11.0", "torchvision==0.26.0")
FORKS = ("onedl-mmengine==0.10.12", "onedl-mmpretrain==1.3.6", "onedl-mmdetection==3.5.1")
ORIGINALS = ("mmengine==0.10.7", "mmpretrain==1.2.0", "mmdet==3.3.0")
TOOLS = ("pytest", "pytest-timeout", "timm==1.0.31", "safetensors", "setuptools<82")
TESTS = ("tests/package/test_dependencies.py", "tests/engine/test_resume.py")


def check(session: nox.Session, torch: tuple, packages: tuple, mmcv: str) -> None:
    """Install these packages and the plugin, and run the tests."""
    session.install(*torch, *TOOLS, "psutil")
    session.install(*packages)
    session.install(mmcv, "-e", ".")
    left_out = "tests/package/test_dependencies.py::test_operators_are_found"
    env = {"OMP_NUM_THREADS": "1"}
    session.run("pytest", "-q", "--deselect", left_out, *TESTS, *session.posargs, env=env)


@nox.session(python=["3.10", "3.11", "3.12"])
def python(session: nox.Session) -> None:
    check(session, TORCH, FORKS, "onedl-mmcv==2.3.6")


@nox.session(python="3.11")
def oldest_torch(session: nox.Session) -> None:
    torch = ("torch==2.6.0", "torchvision==0.21.0", "numpy<2.3")
    check(session, torch, FORKS, "onedl-mmcv==2.3.6")


@nox.session(python="3.11")
def originals(session: nox.Session) -> None:
    check(session, TORCH, ORIGINALS, "mmcv-lite==2.1.0")
