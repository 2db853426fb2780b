"""Residual backbones for MMPretrain and MMDetection.

Importing the package registers everything: backbones by name, models in MMPretrain's hub, and
``_base_ = 'mmres_plugin::…'`` in MMEngine's configs. The command ``mmres`` does so once its
arguments are right, because it would take seconds to answer ``--help`` otherwise.
"""

import sys
from pathlib import Path

from .version import __version__

__all__ = ["__version__", "config_path", "register"]


def register() -> None:
    """Make the plugin known to the OpenMMLab packages; a second call changes nothing.

    Raises:
        ImportError: If a package that the plugin needs is missing or does not fit. The message says
            how to install it.
    """
    from .environment import check_dependencies

    check_dependencies()

    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.utils import is_installed

    from . import engine, hub, models  # noqa: F401  registered by their import
    from .weights import hugging_face  # noqa: F401  likewise: `hf://` addresses

    MODULE2PACKAGE.setdefault("mmres_plugin", "mmres_plugin")
    if not is_installed("mmsegmentation"):  # the fork has another name than MMEngine looks for
        MODULE2PACKAGE["mmseg"] = "mmseg"
    hub.register_models()


def config_path(name: str) -> str:
    """The absolute path of a shipped config, to use as a base that any program can read.

    ``_base_ = __import__("mmres_plugin").config_path("sreresnet/fcos_sreresnet50_1x.py")`` works
    everywhere; ``mmres_plugin::sreresnet/…`` works only after the plugin is imported.

    Args:
        name: The path below ``configs/``.

    Raises:
        FileNotFoundError: If there is no such config; the message suggests a similar name.
    """
    from .config import missing_config

    path = Path(__file__).resolve().parent / ".mim" / "configs" / name
    if not path.is_file():
        raise FileNotFoundError(missing_config(path))
    return str(path)


if Path((sys.argv or [""])[0]).stem != "mmres":
    register()
