"""Count parameters and multiply-accumulates (MACs) of models, and update the tables of them.

    python tools/analysis/complexity.py iresnet50_8xb32_in1k seresnext50-32x4d_8xb32_in1k
    python tools/analysis/complexity.py configs/sreresnet/fcos_sreresnet50_1x.py --size 800 1344
    python tools/analysis/complexity.py --write     # update metafiles and tables
    python tools/analysis/complexity.py --check     # exit status 1 if one is out of date

MACs are those of convolutions, transposed convolutions and linear layers for one image, each time
that a layer runs. Norms, activations, pooling and products of whole maps do not count. The networks
are built on PyTorch's meta device, which computes nothing and needs no memory.
"""

import argparse
import copy
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.apis.model import ModelHub
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..weights.fitting_models import OnMeta

IMAGENET_SIZE = (224, 224)


class Complexity(NamedTuple):
    """What a model costs.

    Attributes:
        params: Number of parameters.
        macs: Multiply-accumulates for one image.
    """

    params: int
    macs: int


def count(
    config: Config, size: tuple[int, int] = IMAGENET_SIZE, backbone_only: bool = False
) -> Complexity:
    """Count the model of a config: a whole classifier, or the backbone of a detector.

    Args:
        config: A config with a ``model``; stays unchanged.
        size: Height and width of the image, in pixels.
        backbone_only: Leave out the head of a classifier, too.

    Raises:
        ValueError: If the model has no backbone, or has layers that this function cannot count.
    """
    if "backbone" not in config.get("model", {}):
        raise ValueError("the config has no model with a backbone")
    whole = "head" in config.model and not backbone_only  # detectors have heads with other names
    cfg = config.model if whole else config.model.backbone
    with OnMeta(), DefaultScope.overwrite_default_scope(config.get("default_scope")):
        model = MODELS.build(copy.deepcopy(cfg))
    model.eval()  # not chained: MMPretrain's backbones return nothing
    macs = 0

    def add(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal macs
        # Each element of the output needs one row of the weight; in a transposed convolution, each
        # element of the input does.
        elements = inputs[0] if isinstance(layer, _ConvTransposeNd) else output
        macs += elements.numel() * layer.weight[0].numel()

    for name, layer in model.named_modules():
        if isinstance(layer, (_ConvNd, nn.Linear)):
            layer.register_forward_hook(add)
        elif any(p.ndim > 1 for p in layer.parameters(recurse=False)):
            raise ValueError(f"cannot count the MACs of {name}, a {type(layer).__name__}")
    with torch.no_grad():
        model(torch.empty(1, 3, *size, device="meta"))
    return Complexity(sum(p.numel() for p in model.parameters()), macs)


def find_config(name: str) -> Config:
    """The config at a path, or that of a model in the hub."""
    return Config.fromfile(name) if Path(name).suffix == ".py" else ModelHub.get(name).config


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", help="hub names or paths of configs")
    parser.add_argument(
        "--size", nargs=2, type=int, default=IMAGENET_SIZE, metavar=("HEIGHT", "WIDTH")
    )
    parser.add_argument(
        "--backbone", action="store_true", help="leave out the heads of classifiers too"
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--write", action="store_true", help="update metafiles and tables")
    modes.add_argument("--check", action="store_true", help="fail if one of them is out of date")
    args = parser.parse_args(argv)
    renew = args.write or args.check
    if renew:  # for developers: in a checkout alone
        sys.path.append(str(Path(__file__).parents[1] / "dev"))
        from model_tables import model_configs, renew_files
    if bool(args.models) == renew:
        parser.error("give models to count, or --write, or --check")

    configs = model_configs() if renew else {name: name for name in args.models}
    counts = {}
    print(f"{'':40} params M   MACs G")
    for name, config in configs.items():
        try:
            counts[name] = count(find_config(str(config)), tuple(args.size), args.backbone)
        except (FileNotFoundError, ValueError) as error:
            parser.error(f"{name}: {error}")
        print(f"{name:40} {counts[name].params / 1e6:8.3f} {counts[name].macs / 1e9:8.3f}")
    if not renew:
        return 0

    stale = renew_files(counts, write=args.write)
    for path in stale:
        print(f"{'updated' if args.write else 'out of date'}: {path}")
    if stale and args.check:
        print("update with: python tools/analysis/complexity.py --write")
    return int(args.check and bool(stale))
