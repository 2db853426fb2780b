"""Deployment: fold a trained model's norms, store it, export it, and keep memory."""

from ..memory import keep_memory
from .checkpoint import load_folded, load_model, save_folded
from .fold import fold_norms

__all__ = ["fold_norms", "keep_memory", "load_folded", "load_model", "save_folded"]
