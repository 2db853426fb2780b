"""Say what is installed, and which models there are.

mmres info                 versions and hardware, for a bug report
mmres info 'iresnet*'      models: cost, weights, config
mmres info '*18*' --check  build each and run it on a small image
"""

import fnmatch
from pathlib import Path
from typing import Any

from ..cli import Parser
from ..errors import UserError, did_you_mean


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__, prog="mmres info")
    parser.add_argument("pattern", nargs="?", help="models to list, with wildcards")
    parser.add_argument("--check", action="store_true", help="build and run each model")
    args = parser.parse_args(argv)
    return list_models(args.pattern or "*", args.check) if args.pattern or args.check else report()


def report() -> int:
    """Print what is installed; returns 1 if it does not fit together."""
    from ..environment import describe, problems

    wrong = problems()
    fit = [("fit", text) for text in wrong or ["all packages fit together"]]
    for name, value in [
        *describe().items(),
        *fit,
        ("models", f"{len(matching('*'))} configs: mmres info '*'"),
    ]:
        print(f"{name:24}{value}")
    return int(bool(wrong))


def list_models(pattern: str, check: bool) -> int:
    """Print the models with these names; returns 1 if one fails the check."""
    import mmpretrain
    from modelindex.load_model_index import load

    from ..hub import OWN_SCHEME, ROOT
    from ..weights.by_name import own_file

    index: Any = load(str(ROOT / "model-index.yml"))
    entries = {model.name: model for model in index.models}
    theirs = set(mmpretrain.list_models()) - entries.keys()
    configs, failed = matching(pattern), 0
    print(f"{'model':40} params M   MACs G  weights    config")
    for name, path in configs.items():
        entry = mmpretrain.ModelHub.get(name) if name in theirs else entries.get(name)
        numbers, weights = f"{'–':>8} {'–':>8}", "–"
        if entry:
            params, macs = entry.metadata.parameters, entry.metadata.flops
            numbers = f"{params / 1e6:8.3f} {macs / 1e9:8.3f}"
            is_online = not entry.weights.startswith(OWN_SCHEME)
            weights = "published" if is_online or own_file(name).is_file() else "–"
        if (converted := Path(f"checkpoints/{name}.pth")).is_file():
            weights = str(converted)
        said = try_model(path) if check else ""
        failed += said.startswith("failed")
        print(f"{name:40} {numbers}  {weights:9}  {path} {said}".rstrip(), flush=True)
    if check:
        print(f"{len(configs) - failed} of {len(configs)} work")
    return int(failed > 0)


def matching(pattern: str) -> dict[str, Path]:
    """The configs whose names match."""
    from ..config import known_configs

    known = known_configs(Path("/nowhere"))
    configs = {name: path for name, path in known.items() if path.parent.name != "_base_"}
    chosen = fnmatch.filter(sorted(configs), pattern) or fnmatch.filter(configs, f"{pattern}*")
    if not chosen:
        meant = did_you_mean(pattern, configs)
        raise UserError(f"no model matches '{pattern}'.{meant} '*' lists all {len(configs)}")
    return {name: configs[name] for name in chosen}


def try_model(config: Path) -> str:
    """Build a model and run its backbone and neck on a small image; what happened, in words."""
    import torch

    from ..config import build_model, load_config

    try:
        model = build_model(load_config(config))
        parts = dict(model.eval().named_children()) if model else {}
        features = parts["backbone"](torch.zeros(1, 3, 64, 64))
        features = parts["neck"](features) if "neck" in parts else features
    except Exception as error:  # whatever it is, it is told and the next model is tried
        return f"failed: {type(error).__name__}: {error}"
    return "ok " + " ".join("×".join(map(str, one.shape)) for one in features)
