"""Residual backbones for MMPretrain and MMDetection.

Importing the package checks its dependencies, registers the backbones, adds the models to
MMPretrain's hub and makes ``_base_ = 'mmres_plugin::…'`` known to MMEngine's configs.
"""

from .dependencies import check_dependencies

check_dependencies()

from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402

from . import engine, models  # noqa: E402, F401
from .config_files import config_path  # noqa: E402
from .hub import register_models  # noqa: E402
from .version import __version__  # noqa: E402
from .weights import hugging_face  # noqa: E402, F401

MODULE2PACKAGE.setdefault("mmres_plugin", "mmres_plugin")
register_models()

__all__ = ["__version__", "config_path", "models"]
