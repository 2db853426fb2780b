"""Deployment: fold a trained model's norms, store it, and export it."""

from .checkpoint import load_folded, load_model, save_folded
from .fold import fold_norms

__all__ = ["fold_norms", "load_folded", "load_model", "save_folded"]
