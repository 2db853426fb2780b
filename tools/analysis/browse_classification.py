#!/usr/bin/env python3
"""Draw the images of a classifier's data set as the network sees them.

    python tools/analysis/browse_classification.py CONFIG --not-show --output-dir seen

This is MMPretrain's browse_dataset, with its options and two bugs fixed: it fails on an
inherited visualizer, to which MMEngine adds ``_scope_``, and with recent versions of Matplotlib.
"""

import runpy
from pathlib import Path

import matplotlib._tight_bbox as tight_bbox
import mmpretrain.visualization
from mmpretrain.visualization import UniversalVisualizer

import mmres_plugin  # noqa: F401

TOOL = Path(mmpretrain.__file__).parent / ".mim/tools/visualization/browse_dataset.py"
matplotlib_adjust_bbox = tight_bbox.adjust_bbox


def adjust_bbox(figure, bbox):
    """Matplotlib's function, which now wants the renderer too."""
    return matplotlib_adjust_bbox(figure, bbox, figure.canvas.get_renderer())


def visualizer(_scope_: str = "", **settings) -> UniversalVisualizer:
    """MMPretrain's visualizer."""
    return UniversalVisualizer(**settings)


if __name__ == "__main__":
    tight_bbox.adjust_bbox = adjust_bbox
    mmpretrain.visualization.UniversalVisualizer = visualizer
    runpy.run_path(str(TOOL), run_name="__main__")
