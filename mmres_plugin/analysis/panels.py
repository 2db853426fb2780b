"""A picture of labelled rows of panels, for feature_maps.py."""

from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")  # draws to files, also where there is no display

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from ..weights.files import atomic_write

SLIDE = (12.8, 7.2)  # inches, at most
HEADER = 0.5  # inches for the title
MAX_COLUMNS = 8


class Panel(NamedTuple):
    """One panel.

    Attributes:
        content: A map, H×W; an image, H×W×3; curves by their names; or None for an empty place.
        title: The text above it.
        limits: Values of the darkest and the brightest colour of a map.
    """

    content: np.ndarray | dict[str, np.ndarray] | None
    title: str = ""
    limits: tuple[float | None, float | None] = (None, None)


Rows = list[tuple[str, list[Panel]]]  # the label of each row, and its panels


def draw(rows: Rows, title: str, out: Path) -> None:
    """Draw the rows into a PNG file, with a rule above each of them."""
    columns = max(len(panels) for _, panels in rows)
    shape = 2 if isinstance(rows[0][1][0].content, dict) else 1  # curves are twice as wide as high
    side = min(SLIDE[0] / columns / shape, (SLIDE[1] - HEADER) / len(rows))
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(max(5, side * columns * shape), side * len(rows) + HEADER),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(h_pad=0.08)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for line, (label, panels) in zip(axes, rows, strict=True):
        line[0].set_ylabel(label, fontsize=9)
        for axis, panel in zip(line, panels, strict=False):
            draw_panel(axis, panel)
    handles, names = axes[0, 0].get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(
            handles, names, loc="outside lower center", ncols=10, fontsize=8, frameon=False
        )
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.draw_without_rendering()  # places the panels
    figure.set_layout_engine("none")
    to_figure = figure.transFigure.inverted()
    for line in axes:
        tops = [axis.get_tightbbox().transformed(to_figure).y1 for axis in line]
        figure.add_artist(Line2D([0.01, 0.99], [max(tops) + 0.005] * 2, color="0.6", lw=0.8))
    with atomic_write(out) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)


def draw_panel(axis: plt.Axes, panel: Panel) -> None:
    """Draw one panel into its place."""
    axis.set_title(panel.title, fontsize=9)
    if isinstance(panel.content, dict):
        for name, curve in panel.content.items():
            axis.plot(curve, lw=0.9, label=name)
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
        axis.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
        axis.set_xlabel("channel", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    elif panel.content is not None:
        low, high = panel.limits
        axis.imshow(panel.content, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
