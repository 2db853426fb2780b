"""Deployment: fold the norms of a trained model, export it."""

from ..weights.load import load_model
from .fold import fold_norms

__all__ = ["fold_norms", "load_model"]
