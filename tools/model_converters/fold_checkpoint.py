"""Fold the batch norms of a trained model into its convolutions.

``python tools/model_converters/fold_checkpoint.py CONFIG CHECKPOINT OUT`` writes config and folded
weights to a file that ``mmres_plugin.deploy.load_folded(OUT)`` opens.
"""

import argparse
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from mmres_plugin.deploy import fold_norms, load_model, save_folded
from mmres_plugin.deploy.checkpoint import count_folded
from mmres_plugin.deploy.output import prepare_output
from mmres_plugin.deploy.verify import TOLERANCE
from mmres_plugin.engine.command_line import user_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fold batch norms into convolutions")
    parser.add_argument("config", help="config file of the model")
    parser.add_argument("checkpoint", help="its checkpoint file")
    parser.add_argument("out", help="file to write")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(224, 224),
        help="height and width of the image for the check",
    )
    args = parser.parse_args()
    if min(args.size) < 1:
        parser.error(f"--size is {args.size}, must be 1 or more")
    return args


def outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    """The features of a model, and its raw predictions unless these need more than images."""
    found = [model.extract_feat(images)]
    with suppress(Exception):  # a detector of two stages, or with queries
        found.append(model(images, mode="tensor"))
    return [one for one in tree_leaves(found) if isinstance(one, Tensor)]


@torch.no_grad()
def main() -> None:
    args = parse_args()
    with user_errors():
        model = load_model(args.config, args.checkpoint)
        prepare_output(args.out)
    folded = fold_norms(model)
    images = torch.rand(1, 3, *args.size)
    pairs = zip(outputs(model, images), outputs(folded, images), strict=True)
    # Unlike Python's max, this one keeps NaN.
    difference = torch.stack([(a - b).abs().max() / a.abs().max() for a, b in pairs]).max().item()
    if not difference <= TOLERANCE:  # also true for NaN
        raise SystemExit(
            f"nothing is written: the outputs of the folded model differ by {difference:.1e} of "
            f"their largest value, more than the allowed {TOLERANCE:.0e}"
        )
    with user_errors():
        save_folded(folded, args.config, args.out)
    norms = sum(isinstance(module, _BatchNorm) for module in model.modules())
    print(f"folded {count_folded(folded)} of {norms} norms")
    print(f"largest relative difference of the outputs: {difference:.1e}")
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
