"""Deployment: load a trained model, fold its norms, export it."""

from .fold import fold_norms
from .load import load_model

__all__ = ["fold_norms", "load_model"]
