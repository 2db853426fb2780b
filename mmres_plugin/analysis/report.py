"""Table, CSV file and plot of a comparison."""

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from ..errors import UserError
from ..weights.files import atomic_write

COLUMNS = 3  # panels of the plot in one line


class Row(NamedTuple):
    """One finished training.

    Attributes:
        backbone: Name of the backbone.
        seed: Seed of the training.
        metric: Name of the figure.
        value: The figure at the end of the training.
        params: Parameters of the backbone.
        macs: Multiply-accumulates of the backbone for one image.
        step_ms: Median time of a training step in milliseconds.
        peak_mib: Peak memory of the training in MiB.
    """

    backbone: str
    seed: int
    metric: str
    value: float
    params: int
    macs: int
    step_ms: float
    peak_mib: float


def by_backbone(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each backbone, in the order of the rows."""
    return {
        name: [row for row in rows if row.backbone == name]
        for name in dict.fromkeys(row.backbone for row in rows)
    }


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation, or None of fewer than two values."""
    return stdev(values) if len(values) > 1 else None


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with a line per backbone.

    The difference to the first backbone is taken seed by seed, over the seeds that both have; its
    standard error is the standard deviation of these differences by the root of their number.
    """
    groups = by_backbone(rows)
    first = {row.seed: row.value for row in next(iter(groups.values()))}
    metric = rows[0].metric
    lines = [
        f"| backbone | {metric} | std | seeds | difference to {rows[0].backbone} | params M "
        "| MACs G | ms per step | peak MiB |",
        "| --- |" + " --: |" * 8,
    ]
    for name, own in groups.items():
        values = [row.value for row in own]
        changes = [row.value - first[row.seed] for row in own if row.seed in first]
        error = spread(changes)
        digits = 2 if max(map(abs, values)) > 1 else 4  # percent, or a share
        change = f"{mean(changes):+.{digits}f}" if changes else ""
        cells = [
            name,
            f"{mean(values):.{digits}f}",
            "" if spread(values) is None else f"{spread(values):.{digits}f}",
            f"{len(values)}",
            change + ("" if error is None else f" ± {error / len(changes) ** 0.5:.{digits}f}"),
            f"{own[0].params / 1e6:.3f}",
            f"{own[0].macs / 1e9:.3f}",
            f"{mean(row.step_ms for row in own):.1f}",
            f"{mean(row.peak_mib for row in own):.0f}",
        ]
        if name == rows[0].backbone:
            cells[4] = ""
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write a line per training, which :func:`read_csv` reads."""
    with atomic_write(path) as half, half.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([Row._fields, *rows])


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV file of :func:`write_csv`.

    Raises:
        UserError: If there is no such file, or it has other columns or no line.
    """
    if not path.is_file():
        raise UserError([f"--plot: there is no file {path}"])
    with path.open(newline="") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    if header != list(Row._fields) or not lines:
        raise UserError([f"--plot: {path} must have the columns {','.join(Row._fields)}"])
    kinds = Row.__annotations__.values()
    return [Row(*(kind(cell) for kind, cell in zip(kinds, line, strict=True))) for line in lines]


def plot(sets: dict[str, Sequence[Row]], path: Path) -> None:
    """Draw figures against MACs: a panel per set, a small dot per seed, the mean and its spread.

    Args:
        sets: The rows of each panel, by its title.
        path: The PNG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(len(sets), COLUMNS)
    lines = -(-len(sets) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(1 + 3.3 * columns, 0.7 + 3.1 * lines),
        squeeze=False,
        layout="constrained",
    )
    names = list(dict.fromkeys(row.backbone for rows in sets.values() for row in rows))
    handles = {}
    for panel in axes.flat[len(sets) :]:
        panel.set_axis_off()
    for (title, rows), panel in zip(sets.items(), axes.flat, strict=False):
        for name, own in by_backbone(rows).items():
            colour, macs = f"C{names.index(name)}", own[0].macs / 1e9
            values = [row.value for row in own]
            panel.plot([macs] * len(own), values, "o", ms=3, color=colour, alpha=0.5)
            handles[name] = panel.errorbar(
                macs, mean(values), spread(values), fmt="D", ms=6, capsize=4, color=colour
            )
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("MACs of the backbone, G", fontsize=9)
        panel.set_ylabel(rows[0].metric, fontsize=9)
        panel.tick_params(labelsize=8)
        panel.margins(0.15)
        panel.grid(alpha=0.3)
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncols=min(len(names), 2 * columns),
        fontsize=9,
        frameon=False,
    )
    with atomic_write(path) as half:
        figure.savefig(half, dpi=100, format="png")
    plt.close(figure)
