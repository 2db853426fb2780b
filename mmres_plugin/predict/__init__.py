"""Predictions for images and videos, by the inferencers of MMPretrain and MMDetection."""

from .output import Output
from .predictor import Predictor
from .sources import Picture, count, find_files, pictures

__all__ = ["Output", "Picture", "Predictor", "count", "find_files", "pictures"]
