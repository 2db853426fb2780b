"""Count parameters and multiply-accumulates (MACs) of models.

    mmres cost iresnet50 seresnext50-32x4d
    mmres cost configs/sreresnet/fcos_sreresnet50_1x.py --size 800 1344

A classifier is counted as a whole, of a detector the backbone. MACs are those of convolutions,
transposed convolutions and linear layers for one image, each time that a layer runs.
"""

from ..cli import Parser


def main(argv: list[str] | None = None) -> None:
    """Print a line for each model."""
    parser = Parser(__doc__, prog="mmres cost")
    parser.add_argument("models", nargs="+", metavar="CONFIG", help="config file or model name")
    add = parser.add_argument
    add("--size", nargs=2, type=int, default=(224, 224), metavar=("H", "W"), help="image size")
    add("--backbone-only", action="store_true", help="leave out the heads of classifiers, too")
    args = parser.parse_args(argv)
    if min(args.size) < 1:
        parser.error(f"--size is {args.size[0]} {args.size[1]}, must be 1 or more")
    from ..analysis.cost import count, find_config

    print(f"{'':40} params M   MACs G")
    for name in args.models:
        params, macs = count(find_config(name), tuple(args.size), args.backbone_only)
        print(f"{name:40} {params / 1e6:8.3f} {macs / 1e9:8.3f}", flush=True)
