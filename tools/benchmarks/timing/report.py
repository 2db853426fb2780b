"""Tables, CSV file and plot of a run."""

import csv
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmres_plugin.errors import UserError

PANELS = 4  # of the plot, in one line


class Row(NamedTuple):
    """One measured case.

    Attributes:
        task: ``inference`` or ``training``.
        network: Name of the network.
        mode: How it ran, or ``convolutions`` for the convolutions alone, in PyTorch.
        images_per_s: Images per second.
        ms: Median time of a batch in milliseconds.
        ms_low: Its lower quartile.
        ms_high: Its upper quartile.
        of_eager: The time as a share of eager mode's, None if that was not measured.
        of_convolutions: The time as a share of the convolutions', None if those were not measured.
        peak_mb: Peak memory in MiB, None if unknown.
    """

    task: str
    network: str
    mode: str
    images_per_s: float
    ms: float
    ms_low: float
    ms_high: float
    of_eager: float | None
    of_convolutions: float | None
    peak_mb: float | None


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| task | network | mode | images/s | ms (quartiles) | of eager | of convolutions "
        "| peak MiB |",
        "| --- | --- | --- | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        shares = (row.of_eager, row.of_convolutions)
        cells = [
            row.task,
            row.network,
            row.mode,
            f"{row.images_per_s:.1f}",
            f"{row.ms:.1f} ({row.ms_low:.1f}–{row.ms_high:.1f})",
            *("" if share is None else f"{share:.2f}" for share in shares),
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """A Markdown table per task: a line per network, a column per mode, times in milliseconds."""
    tables = []
    for task in dict.fromkeys(row.task for row in rows):
        cells = {(row.network, row.mode): row for row in rows if row.task == task}
        modes = list(dict.fromkeys(mode for _, mode in cells))
        lines = [f"| {task}, ms | " + " | ".join(modes) + " |", "| --- |" + " --: |" * len(modes)]
        for network in dict.fromkeys(network for network, _ in cells):
            shown = [short(cells.get((network, mode))) for mode in modes]
            lines.append(f"| {network} | " + " | ".join(shown) + " |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def short(row: Row | None) -> str:
    """The time of a case, then its share of eager mode's in parentheses."""
    if row is None:
        return ""
    return f"{row.ms:.0f}" + ("" if row.of_eager is None else f" ({row.of_eager:.2f})")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows to a CSV file that :func:`read_csv` reads."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV file of :func:`write_csv`.

    Raises:
        UserError: If there is no such file or its columns are not those of :class:`Row`.
    """
    if not path.is_file():
        raise UserError([f"--plot: there is no file {path}"])
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    if not lines or lines[0] != list(Row._fields):
        raise UserError([f"--plot: {path} must have the columns {','.join(Row._fields)}"])
    return [
        Row(*line[:3], *(float(cell) if cell else None for cell in line[3:])) for line in lines[1:]
    ]


def plot(rows: Sequence[Row], path: Path, title: str = "") -> None:
    """Draw images per second: a small panel per network, with a line for each mode.

    The panels of one task have the same scale.

    Args:
        rows: What to draw; panels and modes keep their order.
        path: The PNG file to write.
        title: Text above the panels.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = {task: [row for row in rows if row.task == task] for task, *_ in rows}
    modes = {task: list(dict.fromkeys(row.mode for row in tasks[task])) for task in tasks}
    lines = []  # of panels: a task and up to PANELS networks
    for task, cases in tasks.items():
        networks = list(dict.fromkeys(row.network for row in cases))
        lines += [(task, networks[i : i + PANELS]) for i in range(0, len(networks), PANELS)]

    heights = [0.17 * len(modes[task]) + 0.5 for task, _ in lines]
    columns = max(len(networks) for _, networks in lines)
    titles = textwrap.wrap(title, 45 * columns)
    figure, axes = plt.subplots(
        len(lines),
        columns,
        figsize=(1.6 + 2.1 * columns, sum(heights) + 0.3 + 0.15 * len(titles)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for (task, networks), panels in zip(lines, axes, strict=True):
        limit = 1.3 * max(row.images_per_s for row in tasks[task])  # leaves room for the numbers
        for panel in panels[len(networks) :]:
            panel.set_axis_off()
        for network, panel in zip(networks, panels, strict=False):
            shown = [row for row in tasks[task] if row.network == network]
            draw_panel(panel, shown, modes[task], decimals=0 if limit > 40 else 1)
            panel.set_xlim(0, limit)
            panel.set_title(network.rpartition("/")[2], fontsize=9, weight="bold", loc="left")
        panels[0].set_yticks(range(len(modes[task])), modes[task])
        panels[0].set_ylabel(task, fontsize=8)
    figure.supxlabel("images per second", fontsize=8)
    if titles:
        figure.suptitle("\n".join(titles), fontsize=7)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_panel(panel, rows: Sequence[Row], modes: list[str], decimals: int) -> None:
    """Draw a dot and a number for each row, at the height of its mode."""
    for row in rows:
        y, x = modes.index(row.mode), row.images_per_s
        colour = "tab:orange" if "bf16" in row.mode else "tab:blue"
        alone = row.mode.startswith("convolutions")
        panel.hlines(y, 0, x, color=colour, lw=1, alpha=0.4, linestyle=":" if alone else "-")
        panel.plot(x, y, "o", ms=5, color=colour, markerfacecolor="white" if alone else colour)
        panel.annotate(
            f"{x:.{decimals}f}",
            (x, y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    panel.set_ylim(len(modes) - 0.4, -0.6)
    panel.set_yticks([])
    panel.tick_params(labelsize=8, length=2)
    panel.spines[["top", "right"]].set_visible(False)
