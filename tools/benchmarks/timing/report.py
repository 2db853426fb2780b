"""The table, the CSV file and the plot of a run."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One measured case; times in milliseconds, memory in MiB, None where unknown."""

    task: str
    network: str
    mode: str
    images_per_s: float
    ms: float
    ms_low: float
    ms_high: float
    of_eager: float | None
    of_floor: float | None
    peak_mb: float | None


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| task | network | mode | images/s | ms (quartiles) | of eager | of floor | peak MiB |",
        "| --- | --- | --- | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        cells = [
            row.task,
            row.network,
            row.mode,
            f"{row.images_per_s:.1f}",
            f"{row.ms:.1f} ({row.ms_low:.1f}–{row.ms_high:.1f})",
            *("" if share is None else f"{share:.2f}" for share in (row.of_eager, row.of_floor)),
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """A Markdown table for each task: networks down, modes across; ms, and the share of eager."""
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
    """The time of a case and, in parentheses, its share of eager's."""
    if row is None:
        return ""
    return f"{row.ms:.0f}" + ("" if row.of_eager is None else f" ({row.of_eager:.2f})")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)


def plot(rows: Sequence[Row], path: Path, title: str) -> None:
    """Bars of images per second: a panel for each task, a group for each network."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = list(dict.fromkeys(row.task for row in rows))
    modes = list(dict.fromkeys(row.mode for row in rows))
    colours = dict(zip(modes, plt.get_cmap("tab20").colors, strict=False))
    height = max(3, 0.22 * len(rows) + 1.5)
    size = (7 * len(tasks), height)
    figure, axes = plt.subplots(1, len(tasks), figsize=size, squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        chosen = [row for row in rows if row.task == task]
        position, ticks, seen = 0.0, {}, set()
        for network in dict.fromkeys(row.network for row in chosen):
            group = [row for row in chosen if row.network == network]
            for offset, row in enumerate(group):
                label = None if row.mode in seen else row.mode
                seen.add(row.mode)
                colour = colours[row.mode]
                axis.barh(position + offset, row.images_per_s, color=colour, label=label)
            ticks[position + (len(group) - 1) / 2] = network
            position += len(group) + 1
        axis.set_yticks(list(ticks), list(ticks.values()))
        axis.margins(y=0.01)
        axis.invert_yaxis()
        axis.set_xlabel(f"images per second, {task}")
        axis.legend(fontsize="small")
    figure.suptitle(title, fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
