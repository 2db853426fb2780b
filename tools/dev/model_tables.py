"""Write parameters and MACs into the metafiles, and the tables of models into the Markdown pages.

A table stands between two comments. The first lists its models as patterns of ``family/model``:

    <!-- models: iresnet/iresnet* iresnet/iresgroup* -->
    <!-- end of models -->
"""

import os
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from modelindex.models.Model import Model

from mmres_plugin.hub import all_models

ROOT = Path(__file__).parents[2]
SUFFIX = "_8xb32_in1k"
TABLE = re.compile(r"(<!-- models: (.+?) -->\n).*?(<!-- end of models -->)", re.DOTALL)
# Metrics of the metafiles and their columns; a table shows those that several of its models have.
ACCURACIES = {
    "Top 1 Accuracy": "Top-1 (%)",
    "Top 5 Accuracy": "Top-5 (%)",
    "Third-Party Top 1 Accuracy": "Top-1, third party (%)",
    "Third-Party Top 5 Accuracy": "Top-5, third party (%)",
}


def model_configs() -> dict[str, Path]:
    """The config of each ImageNet model by name, sorted by family and depth."""
    paths = ROOT.glob(f"configs/[!_]*/*{SUFFIX}.py")
    return {path.stem: path for path in sorted(paths, key=_natural_order)}


def pages() -> list[Path]:
    """The Markdown pages with tables of models."""
    families = [path.with_name("README.md") for path in metafiles()]
    return [ROOT / "README.md", ROOT / "docs/models.md", *families]


def metafiles() -> list[Path]:
    """The metafiles of the families."""
    return sorted(ROOT.glob("configs/*/metafile.yml"))


def hub_entry(name: str) -> Model:
    """The hub's entry of a model; unlike `ModelHub.get` this does not parse the config."""
    return all_models()[name]


def renew_files(counts: dict[str, tuple[int, int]], write: bool) -> list[Path]:
    """Compare metafiles and pages with the counts, and return those that are out of date.

    Args:
        counts: Parameters and MACs of each model of :func:`model_configs`.
        write: Also bring them up to date.
    """
    renewed = {path: _metafile(path.read_text("utf-8"), counts) for path in metafiles()}
    renewed |= {path: _page(path, counts) for path in pages()}
    stale = [path for path, text in renewed.items() if text != path.read_text("utf-8")]
    if write:
        for path in stale:
            path.write_text(renewed[path], "utf-8")
    return stale


def _metafile(text: str, counts: dict[str, tuple[int, int]]) -> str:
    for name, (params, macs) in counts.items():
        numbers = rf"(Name: {name}\n.*?FLOPs: )\d+(\n\s+Parameters: )\d+"
        text = re.sub(numbers, rf"\g<1>{macs}\g<2>{params}", text, count=1, flags=re.DOTALL)
    return text


def _page(path: Path, counts: dict[str, tuple[int, int]]) -> str:
    def table(match: re.Match) -> str:
        start, patterns, end = match.groups()
        configs = [config for pattern in patterns.split() for config in _matching(pattern)]
        known = Counter(key for config in configs for key in _metrics(config))
        shown = [key for key in ACCURACIES if known[key] > 1]
        rows = [_row(config, *counts[config.stem], shown, path.parent) for config in configs]
        return start + _header(shown) + "".join(rows) + end

    return TABLE.sub(table, path.read_text("utf-8"))


def _matching(pattern: str) -> list[Path]:
    configs = [
        path
        for name, path in model_configs().items()
        if fnmatch(f"{path.parent.name}/{name.removesuffix(SUFFIX)}", pattern)
    ]
    if not configs:
        raise ValueError(f"a table asks for models {pattern!r}, but no config has such a name")
    return configs


def _metrics(config: Path) -> dict[str, float]:
    """The accuracies that the hub has for a model with the name of this config."""
    results = hub_entry(config.stem).results or []
    return results[0].metrics if results else {}


def _header(shown: list[str]) -> str:
    names = ["Model", "Params (M)", "MACs (G)", *(ACCURACIES[key] for key in shown)]
    return f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}\n"


def _row(config: Path, params: int, macs: int, shown: list[str], folder: Path) -> str:
    """One line of a table in a page of ``folder``."""
    accuracies = [_metrics(config).get(key) for key in shown]
    cells = [
        f"[{config.stem.removesuffix(SUFFIX)}]({os.path.relpath(config, folder)})",
        f"{params / 1e6:.3f}",
        f"{macs / 1e9:.3f}",
        *("–" if accuracy is None else f"{accuracy:.2f}" for accuracy in accuracies),
    ]
    return "| " + " | ".join(cells) + " |\n"


def _natural_order(path: Path) -> list:
    """A key that sorts edresnet50 before edresnet50-a and edresnet101."""
    name = path.stem.removesuffix(SUFFIX)
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
