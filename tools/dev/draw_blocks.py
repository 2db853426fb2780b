"""Draw the figures of the blocks of each family into docs/images.

python tools/dev/draw_blocks.py
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, FancyBboxPatch

IMAGES = Path(__file__).parents[2] / "docs/images"
CONV, NORM, NEW, LINE, NEW_LINE = "#d6e4f5", "#e8e8e8", "#f9d9b0", "#444444", "#d07a00"
WIDTH, HEIGHT, GAP = 2.0, 0.36, 0.24  # size of a layer's box and gap between boxes, in inches


class Canvas:
    """A figure in inches, with y downwards; it grows with what is drawn."""

    def __init__(self, width: float) -> None:
        self.width, self.bottom = width, 0.0
        self.figure, self.axes = plt.subplots()
        self.axes.set_axis_off()
        self.figure.subplots_adjust(0, 0, 1, 1)

    def text(self, x: float, y: float, label: str, size: float = 9, **kwargs) -> None:
        self.axes.text(x, y, label, size=size, ha="center", va="center", **kwargs)

    def box(self, x: float, y: float, label: str, new: bool = False, width: float = WIDTH) -> None:
        colour = NEW if new else NORM if label.startswith(("BN", "ReLU")) else CONV
        self.bottom = max(self.bottom, y + HEIGHT / 2)
        corner = (x - width / 2, y - HEIGHT / 2)
        style = "round,pad=0,rounding_size=0.08"
        self.axes.add_patch(
            FancyBboxPatch(corner, width, HEIGHT, boxstyle=style, facecolor=colour, edgecolor=LINE)
        )
        self.text(x, y, label)

    def operator(self, x: float, y: float, sign: str) -> None:
        self.axes.add_patch(Circle((x, y), 0.15, facecolor="white", edgecolor=LINE, zorder=3))
        self.text(x, y, sign, size=11, zorder=4)

    def arrow(self, *points: tuple[float, float], new: bool = False) -> None:
        """A line through the points that ends in an arrowhead."""
        self.bottom = max(self.bottom, *(y for _, y in points))
        colour = NEW_LINE if new else LINE
        self.axes.plot(*zip(*points[:-1], strict=True), color=colour, lw=1.2, zorder=1)
        self.axes.annotate(
            "",
            points[-1],
            points[-2],
            arrowprops=dict(arrowstyle="-|>", color=colour, lw=1.2, shrinkA=0, shrinkB=0),
        )

    def column(self, x: float, y: float, labels: Sequence[str]) -> float:
        """A column of boxes with arrows, starting at y; returns the y below the last box.

        A star at the start of a label marks what the paper adds.
        """
        for label in labels:
            self.arrow((x, y), (x, y + GAP))
            self.box(x, y + GAP + HEIGHT / 2, label.removeprefix("*"), new=label.startswith("*"))
            y += GAP + HEIGHT
        return y

    def save(self, name: str) -> None:
        height = self.bottom + 0.25
        self.figure.set_size_inches(self.width, height)
        self.axes.set(xlim=(0, self.width), ylim=(height, 0))
        IMAGES.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(
            IMAGES / name, metadata={"Date": None, "Creator": None}, facecolor="white"
        )
        plt.close(self.figure)


def block(
    canvas: Canvas,
    x: float,
    title: str,
    branch: Sequence[str],
    after: Sequence[str] = ("ReLU",),
    shortcut: Sequence[str] = (),
    top: float = 0.35,
) -> None:
    """A residual block: branch at x, shortcut to its right, then the sum."""
    side = x + WIDTH / 2 + (0.35 if not shortcut else 0.3 + WIDTH / 2)
    canvas.text(x, top, title, size=11, weight="bold")
    start = top + 0.3
    fork = start + 0.12
    canvas.axes.plot([x, x], [start, fork], color=LINE, lw=1.2)
    end = canvas.column(x, fork, branch)
    total = end + GAP + 0.15
    canvas.arrow((x, end), (x, total - 0.15))
    down = canvas.column(side, fork, shortcut) if shortcut else fork
    canvas.axes.plot([x, side], [fork, fork], color=LINE, lw=1.2)
    canvas.arrow((side, down), (side, total), (x + 0.15, total))
    canvas.operator(x, total, "+")
    out = canvas.column(x, total + 0.15, after)
    canvas.arrow((x, out), (x, out + GAP))


BOTTLENECK = ("1×1 conv", "BN, ReLU", "3×3 conv", "BN, ReLU", "1×1 conv")


def draw_resnext() -> None:
    canvas = Canvas(6.4)
    plain = ("1×1 conv, 64", "BN, ReLU", "3×3 conv, 64", "BN, ReLU", "1×1 conv, 256", "BN")
    block(canvas, 1.3, "ResNet", plain)
    grouped = (
        "*1×1 conv, 128",
        "BN, ReLU",
        "*3×3 conv, 32 × 4",
        "BN, ReLU",
        "1×1 conv, 256",
        "BN",
    )
    block(canvas, 4.6, "ResNeXt 32×4d", grouped)
    canvas.save("block_resnext.svg")


def draw_seresnet() -> None:
    canvas = Canvas(5.6)
    x, gate, side = 1.3, 3.4, 5.1
    canvas.text(x, 0.35, "SE-ResNet", size=11, weight="bold")
    canvas.axes.plot([x, x], [0.65, 0.77], color=LINE, lw=1.2)
    end = canvas.column(x, 0.77, (*BOTTLENECK, "BN"))
    fork = end + 0.14
    squeeze = ("*mean of each channel", "*1×1 conv to C / 16, ReLU", "*1×1 conv to C, sigmoid")
    bottom = canvas.column(gate, fork, squeeze)
    product = bottom + 0.1
    canvas.axes.plot([x, gate], [fork, fork], color=LINE, lw=1.2)
    canvas.arrow((x, end), (x, product - 0.15))
    canvas.arrow((gate, bottom), (gate, product), (x + 0.15, product), new=True)
    canvas.operator(x, product, "×")
    total = product + 0.3 + GAP
    canvas.arrow((x, product + 0.15), (x, total - 0.15))
    canvas.axes.plot([x, side], [0.77, 0.77], color=LINE, lw=1.2)
    canvas.arrow((side, 0.77), (side, total), (x + 0.15, total))
    canvas.operator(x, total, "+")
    out = canvas.column(x, total + 0.15, ("ReLU",))
    canvas.arrow((x, out), (x, out + GAP))
    canvas.save("block_seresnet.svg")


def draw_edresnet() -> None:
    canvas = Canvas(6.9)
    x, path, side = 1.3, 3.9, 6.3
    canvas.text(x, 0.35, "ED-ResNet", size=11, weight="bold")
    canvas.axes.plot([x, x], [0.65, 0.77], color=LINE, lw=1.2)
    end = canvas.column(x, 0.77, (*BOTTLENECK, "BN"))
    canvas.axes.plot([x, path], [0.77, 0.77], color=LINE, lw=1.2)
    projected = canvas.column(path, 0.77, ("projection, if needed",))
    fork = projected + 0.14
    canvas.text(path + 0.12, fork - 0.02, "p", size=10, style="italic")
    layers = ("*3×3 conv, stride 2", "BN, ReLU", "*3×3 transposed, stride 2", "BN")
    down = canvas.column(path, fork, layers)
    total = end + GAP + 0.15
    canvas.arrow((path, projected), (path, fork + GAP))
    canvas.axes.plot([path, side], [fork, fork], color=LINE, lw=1.2)
    meeting = total - 0.1
    canvas.arrow((path, down), (path, meeting - 0.15), new=True)
    canvas.arrow((side, fork), (side, meeting), (path + 0.15, meeting))
    canvas.operator(path, meeting, "+")
    canvas.arrow((x, end), (x, meeting - 0.15))
    canvas.arrow((path - 0.15, meeting), (x + 0.15, meeting))
    canvas.operator(x, meeting, "+")
    out = canvas.column(x, meeting + 0.15, ("ReLU",))
    canvas.arrow((x, out), (x, out + GAP))
    canvas.save("block_edresnet.svg")


def draw_iresnet() -> None:
    canvas = Canvas(13.9)
    projection = ("*3×3 max-pool, stride 2", "1×1 conv", "BN")
    block(canvas, 1.3, "start", (*BOTTLENECK, "BN"), after=("ReLU",), shortcut=projection)
    block(canvas, 6.2, "second", BOTTLENECK, after=())
    block(canvas, 9.3, "middle", ("*BN, ReLU", *BOTTLENECK), after=())
    block(canvas, 12.4, "end", ("*BN, ReLU", *BOTTLENECK), after=("*BN, ReLU",))
    canvas.save("block_iresnet.svg")


def draw_sreresnet() -> None:
    canvas = Canvas(10.6)
    width, step = 1.5, 1.9
    canvas.text(0.9, 0.35, "a stage", size=11, weight="bold")
    names = ("down-sampling", "block 2", "…", "block n")
    xs = [1.6 + i * step for i in range(len(names))]
    y = 1.25
    canvas.arrow((0.2, y), (xs[0] - width / 2, y))
    for x, name in zip(xs, names, strict=True):
        canvas.box(x, y, name, width=width)
        canvas.arrow((x + width / 2, y), (x + step - width / 2, y))
    again = (xs[-1] + step / 2, xs[1] - step / 2)
    canvas.arrow((again[0], y), (again[0], y - 0.55), (again[1], y - 0.55), (again[1], y), new=True)
    canvas.text(sum(again) / 2, y - 0.72, "once more, the same weights", color=NEW_LINE)

    canvas.text(0.9, 2.2, "unrolled", size=11, weight="bold")
    names = ("down-sampling", "block 2", "…", "block n", "block 2", "…", "block n")
    width, step = 1.2, 1.42
    y = 2.85
    canvas.arrow((0.2, y), (0.42, y))
    for i, name in enumerate(names):
        x = 0.42 + width / 2 + i * step
        canvas.box(x, y, name, new=i > 3, width=width)
        canvas.arrow((x + width / 2, y), (x + step - width / 2, y))
    canvas.save("block_sreresnet.svg")


def main() -> None:
    plt.rcParams["svg.hashsalt"] = "mmres_plugin"  # gives the same file in every run
    for draw in (draw_sreresnet, draw_iresnet, draw_edresnet, draw_seresnet, draw_resnext):
        draw()


if __name__ == "__main__":
    main()
