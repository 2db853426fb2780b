"""What is installed, and which models there are.

mmres info                 versions and hardware, for a bug report
mmres info 'iresnet*'      models: cost, config, weights
mmres info '*18*' --check  build each and run it on a small image
"""

import argparse
import fnmatch
from pathlib import Path

import torch
from mmpretrain.apis.model import ModelHub
from modelindex.load_model_index import load

from ..checks import build_model
from ..config import known_configs, load_config
from ..engine.runner import user_errors
from ..environment import describe, problems
from ..errors import UserError, did_you_mean
from ..hub import ROOT, SCHEME


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pattern", nargs="?", help="models to list, with wildcards")
    parser.add_argument(
        "--check", action="store_true", help="build each model and run it on a small image"
    )
    return parser.parse_args(argv)


def shipped(pattern: str) -> dict[str, Path]:
    """The configs whose names match."""
    configs = {
        name: path
        for name, path in known_configs(Path("/nowhere")).items()
        if path.parent.name != "_base_"
    }
    chosen = fnmatch.filter(sorted(configs), pattern) or fnmatch.filter(configs, f"{pattern}*")
    if not chosen:
        meant = did_you_mean(pattern, configs)
        raise UserError([f"no model matches '{pattern}'.{meant} '*' lists all {len(configs)}"], "")
    return {name: configs[name] for name in chosen}


def costs() -> dict[str, tuple[int, int]]:
    """Parameters and multiply-accumulates of the classifiers, from the metafiles."""
    index = load(str(ROOT / "model-index.yml"))
    return {model.name: (model.metadata.parameters, model.metadata.flops) for model in index.models}


def weights(name: str) -> str:
    """Where the weights of a model are."""
    for place in (Path("checkpoints", f"{name}.pth"), Path("work_dirs", name, "last_checkpoint")):
        if place.is_file():
            return str(place) if place.suffix else place.read_text().strip()
    published = ModelHub.get(name).weights if ModelHub.has(name) else None
    return "–" if not published or published.startswith(SCHEME) else "published"


def check(config: Path) -> str:
    """Build a model and run it on a small image; what happened, in words."""
    try:
        model = build_model(load_config(config))
        model.eval()
        with torch.no_grad():
            shapes = [tuple(one.shape) for one in model.extract_feat(torch.zeros(1, 3, 64, 64))]
    except Exception as error:  # whatever it is, the next model is tried
        return f"failed: {type(error).__name__}: {error}"
    return "ok " + " ".join("×".join(map(str, shape)) for shape in shapes)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.pattern is None and not args.check:
        for name, value in describe().items():
            print(f"{name:24}{value}")
        wrong = problems()
        for problem in wrong or ["all packages fit together"]:
            print(f"{'fit':24}{problem}")
        print(f"{'models':24}{len(shipped('*'))} configs: mmres info '*'")
        return int(bool(wrong))
    with user_errors():
        configs = shipped(args.pattern or "*")
    known, failed = costs(), 0
    print(f"{'model':40} params M   MACs G  weights    config")
    for name, path in configs.items():
        params, macs = known.get(name, (None, None))
        numbers = [f"{number:8.3f}" for number in (params / 1e6, macs / 1e9)] if params else []
        row = " ".join(numbers or ["       –", "       –"])
        print(f"{name:40} {row}  {weights(name):9}  {path}", flush=True)
        if args.check:
            said = check(path)
            failed += said.startswith("failed")
            print(f"    {said}", flush=True)
    if args.check:
        print(f"{len(configs) - failed} of {len(configs)} work")
    return int(failed > 0)
