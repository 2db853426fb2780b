"""Write parameters and MACs into the metafiles, and the tables of models into the Markdown pages.

    python tools/dev/model_tables.py            # write
    python tools/dev/model_tables.py --check    # exit code 1 if a file is out of date

A table stands between two comments. The first lists its models as patterns of ``family/model``:

    <!-- models: iresnet/iresnet* iresnet/iresgroup* -->
    <!-- end of models -->
"""

import os
import re
import sys
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmpretrain.apis.model import ModelHub
from modelindex.load_model_index import load

from mmres_plugin.analysis.cost import count

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
    """The config of each ImageNet model by name; edresnet50 before edresnet50-a and edresnet101."""

    def padded(path: Path) -> str:
        return re.sub(r"\d+", lambda n: n[0].zfill(5), path.stem.removesuffix(SUFFIX))

    paths = ROOT.glob(f"configs/[!_]*/*{SUFFIX}.py")
    return {path.stem: path for path in sorted(paths, key=padded)}


def pages() -> list[Path]:
    """The Markdown pages with tables of models."""
    families = [path.with_name("README.md") for path in metafiles()]
    return [ROOT / "README.md", ROOT / "docs/models.md", *families]


def metafiles() -> list[Path]:
    """The metafiles of the families."""
    return sorted(ROOT.glob("configs/*/metafile.yml"))


@cache
def own_entries() -> dict[str, Any]:
    """Our models in the index, by name; their configs are not read."""
    index: Any = load(str(Path(__file__).parents[2] / "model-index.yml"))
    return {model.name: model for model in index.models}


@cache
def hub_entry(name: str) -> Any:
    """The hub's entry of a model, ours or MMPretrain's."""
    return own_entries().get(name) or ModelHub.get(name)


def renew_files(counts: dict[str, tuple[int, int]], write: bool) -> list[Path]:
    """Compare metafiles and pages with the counts, and return those that are out of date.

    Args:
        counts: Parameters and MACs of each model of :func:`model_configs`.
        write: Also bring them up to date.
    """
    renewed = {path: _metafile(path, counts) for path in metafiles()}
    renewed |= {path: _page(path, counts) for path in pages()}
    stale = [path for path, text in renewed.items() if text != path.read_text("utf-8")]
    for path in stale if write else ():
        path.write_text(renewed[path], "utf-8")
    return stale


def _metafile(path: Path, counts: dict[str, tuple[int, int]]) -> str:
    text = path.read_text("utf-8")
    for name, (params, macs) in counts.items():
        numbers = rf"(Name: {name}\n.*?FLOPs: )\d+(\n\s+Parameters: )\d+"
        text = re.sub(numbers, rf"\g<1>{macs}\g<2>{params}", text, count=1, flags=re.DOTALL)
    return text


def _page(path: Path, counts: dict[str, tuple[int, int]]) -> str:
    def metrics(config: Path) -> dict[str, float]:
        results = hub_entry(config.stem).results
        return results[0].metrics if results else {}

    def table(match: re.Match) -> str:
        start, patterns, end = match.groups()
        configs = [
            config
            for pattern in patterns.split()
            for name, config in model_configs().items()
            if fnmatch(f"{config.parent.name}/{name.removesuffix(SUFFIX)}", pattern)
        ]
        known = Counter(key for config in configs for key in metrics(config))
        shown = [key for key in ACCURACIES if known[key] > 1]
        names = ["Model", "Params (M)", "MACs (G)", *(ACCURACIES[key] for key in shown)]
        rows = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
        for config in configs:
            params, macs = counts[config.stem]
            link = f"[{config.stem.removesuffix(SUFFIX)}]({os.path.relpath(config, path.parent)})"
            found = [metrics(config).get(key) for key in shown]
            cells = [link, f"{params / 1e6:.3f}", f"{macs / 1e9:.3f}"]
            cells += ["–" if value is None else f"{value:.2f}" for value in found]
            rows.append(f"| {' | '.join(cells)} |")
        return start + "\n".join(rows) + "\n" + end

    return TABLE.sub(table, path.read_text("utf-8"))


if __name__ == "__main__":
    counted = {name: count(Config.fromfile(path)) for name, path in model_configs().items()}
    stale = renew_files(counted, write="--check" not in sys.argv)
    print(*(f"out of date: {path.relative_to(ROOT)}" for path in stale), sep="\n")
    sys.exit(bool(stale) and "--check" in sys.argv)
