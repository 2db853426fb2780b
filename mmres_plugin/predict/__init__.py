"""Predictions of trained classifiers and detectors for images and videos."""

from .predictor import Predictor

__all__ = ["Predictor"]
