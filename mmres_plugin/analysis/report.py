"""CSV file, table and plot of a comparison.

A row is a training: ``backbone``, ``seed``, ``metric`` and its ``value`` at the last validation;
``params`` and ``macs`` of the backbone; ``step_ms``, the median time of a step; ``peak_mib``, the
peak memory; and ``commit``, version of ``torch`` and CPU ``threads`` of the training.
"""

from pathlib import Path
from statistics import mean, stdev

from ..errors import UserError, did_you_mean
from ..weights.files import atomic_write
from .csv_files import write_csv
from .trainings import Training

METRICS = ("accuracy/top1", "coco/bbox_mAP")  # the first one found is compared
LABELS = {"accuracy/top1": "top-1 accuracy (%)", "coco/bbox_mAP": "box AP (0 to 1)"}

Rows = list[dict]


def write_report(trainings: list[Training], metric: str | None, out: Path) -> str:
    """Write results.csv, .md and .png of the finished trainings; returns the table.

    Args:
        trainings: All of a comparison, at least one of them finished.
        metric: What is compared; by default the first of :data:`METRICS` that there is.
        out: The folder for the files.

    Raises:
        UserError: If the metric was not measured.
    """
    rows = []
    for training in trainings:
        if result := training.result:
            figures = result.pop("metrics")
            name = metric or next((name for name in METRICS if name in figures), min(figures))
            if name not in figures:
                known = f"{', '.join(figures)}.{did_you_mean(name, figures)}"
                raise UserError(f"--metric: there is no {name}, only {known}")
            row = {"backbone": training.name, "seed": training.seed, "metric": name}
            params, macs = training.cost
            rows.append({**row, "value": figures[name], "params": params, "macs": macs, **result})
    write_csv(rows, out / "results.csv")
    (out / "results.md").write_text(table(rows) + "\n")
    plot({out.name: rows}, out / "results.png")
    return table(rows)


def by_backbone(rows: Rows) -> dict[str, Rows]:
    """The rows of each backbone, in the order of the rows."""
    names = dict.fromkeys(row["backbone"] for row in rows)
    return {name: [row for row in rows if row["backbone"] == name] for name in names}


def unit_of(rows: Rows) -> tuple[float, str, str]:
    """The unit of MACs that suits the rows: number, word and prefix."""
    large = max(row["macs"] for row in rows) > 1e8
    return (1e9, "billions", "G") if large else (1e6, "millions", "M")


def table(rows: Rows) -> str:
    """A Markdown table with a line per backbone.

    The difference to the first backbone is taken seed by seed, over the seeds that both have; its
    standard error is the standard deviation of these differences by the root of their number.
    """
    baseline = rows[0]["backbone"]
    first = {row["seed"]: row["value"] for row in rows if row["backbone"] == baseline}
    digits = 2 if max(abs(row["value"]) for row in rows) > 1 else 4  # percent, or a share
    unit, _, prefix = unit_of(rows)
    lines = [
        f"| backbone | {rows[0]['metric']} | std | seeds | difference to {baseline} "
        f"| params M | MACs {prefix} | ms per step | peak MiB |",
        "| --- |" + " --: |" * 8,
    ]
    for name, own in by_backbone(rows).items():
        values = [row["value"] for row in own]
        changes = [row["value"] - first[row["seed"]] for row in own if row["seed"] in first]
        change = f"{mean(changes):+.{digits}f}" if changes and name != baseline else ""
        if change and len(changes) > 1:
            change += f" ± {stdev(changes) / len(changes) ** 0.5:.{digits}f}"
        spread = f"{stdev(values):.{digits}f}" if len(values) > 1 else ""
        params, macs, step, peak = (
            mean(row[key] for row in own) for key in ("params", "macs", "step_ms", "peak_mib")
        )
        lines.append(
            f"| {name} | {mean(values):.{digits}f} | {spread} | {len(values)} | {change} "
            f"| {params / 1e6:.3f} | {macs / unit:.3f} | {step:.1f} | {peak:.0f} |"
        )
    return "\n".join(lines)


def plot(sets: dict[str, Rows], path: Path) -> None:
    """Draw figures against MACs: a panel per set, a small dot per seed, the mean and its spread.

    Args:
        sets: The rows of each panel, by its title.
        path: The PNG file to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = 2 if len(sets) == 4 else min(len(sets), 3)
    lines = -(-len(sets) // columns)
    figure = Figure((0.6 + 3 * columns, 0.8 + 2.8 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    handles = {}
    for panel in axes.flat[len(sets) :]:
        panel.set_axis_off()
    for (title, rows), panel in zip(sets.items(), axes.flat, strict=False):
        unit, word, _ = unit_of(rows)
        for name, own in by_backbone(rows).items():
            colour = handles[name][0].get_color() if name in handles else f"C{len(handles)}"
            values, macs = [row["value"] for row in own], own[0]["macs"] / unit
            spread = stdev(values) if len(values) > 1 else None
            panel.plot([macs] * len(own), values, "o", ms=3, color=colour, alpha=0.5)
            handles[name] = panel.errorbar(
                macs, mean(values), spread, fmt="D", ms=6, capsize=4, color=colour
            )
        panel.set_title(title.replace("_", " "), fontsize=11)
        panel.set_xlabel(f"multiply-accumulates, {word}")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.set_ylabel(LABELS.get(rows[0]["metric"], rows[0]["metric"]))
        panel.margins(0.15)
        panel.grid(alpha=0.3)
    named = list(handles.values()), list(handles)
    figure.legend(*named, loc="outside lower center", ncols=2 * columns, frameon=False)
    with atomic_write(path) as half:
        figure.savefig(half, dpi=150, format="png")
