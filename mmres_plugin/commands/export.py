"""Export a classifier or a detector to ONNX, from images to classes or boxes.

The command folds the norms and leaves batch, height and width free. Then it runs the file with ONNX
Runtime at three image sizes, compares the results with the model's, and keeps the file only if they
agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..cli import Parser
from ..errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from ..deploy.export import Exported


def parser() -> Parser:
    parser = Parser(__doc__, prog="mmres export")
    parser.add_argument("config", help="config file of a classifier or detector")
    parser.add_argument("checkpoint", help="its checkpoint file, or 'none' for random weights")
    parser.add_argument("out", type=Path, help="file to write, NAME.onnx")
    parser.add_argument(
        "--features",
        action="store_true",
        help="export the feature maps of the backbone, from normalised images",
    )
    parser.add_argument(
        "--input",
        choices=["images", "nchw-float"],
        default="images",
        help="what the file takes: images of any number and size, N×H×W×3, uint8, RGB; or one "
        "normalised image of --size, 1×3×H×W, float32, for compilers of plain networks",
    )
    parser.add_argument(
        "--softmax", action="store_true", help="export scores of a classifier, not logits"
    )
    parser.add_argument(
        "--topk",
        type=int,
        default=0,
        metavar="K",
        help="export the K best scores of a classifier and their classes; 0 for all scores",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[224, 224],
        metavar=("H", "W"),
        help="image size of the example that the export follows; that of the file with nchw-float",
    )
    parser.add_argument("--opset", type=int, default=18, help="ONNX opset version, 18 or more")
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="FILE",
        help="images for the check; by default three of the test set",
    )
    parser.add_argument(
        "--int8", action="store_true", help="write an 8-bit file; the last layers stay in float"
    )
    parser.add_argument(
        "--calibrate",
        type=int,
        default=64,
        metavar="N",
        help="with --int8: how many training images to calibrate with",
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="write weights and features in half precision; for classifiers and --features",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not compare the file")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="change settings of the config, for example model.test_cfg.score_thr=0.3",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    check_arguments(args)
    from ..config import load_config
    from ..deploy import load_model
    from ..deploy.export import Exported, export_onnx
    from ..deploy.images import read_images
    from ..deploy.output import prepare_output

    prepare_output(args.out)
    checkpoint = None if args.checkpoint == "none" else args.checkpoint
    cfg = load_config(args.config, args.cfg_options)
    model = load_model(cfg, checkpoint)
    floats = args.input == "nchw-float"
    exported = Exported(model, args.features, floats, args.softmax, args.topk)
    if args.fp16 and exported.task == "detection":
        raise UserError(["--fp16: a detector's boxes need float32; use --int8, or --features"])
    images = []
    if args.int8:
        images = read_images(cfg, "train", args.calibrate, exported.steps)

    def finish(path: Path) -> None:
        if args.fp16:
            from ..deploy.quantize import to_half

            to_half(path)
        if not args.no_verify:
            print(compare(args, exported, model, cfg, path))
        if args.int8:
            from ..deploy.quantize import quantize_onnx

            print(f"calibrating with {len(images)} images of the training set", flush=True)
            print(quantize_onnx(path, path, images))

    export_onnx(exported, args.out, tuple(args.size), args.opset, finish)
    megabytes = args.out.stat().st_size / 1e6
    print(f"written: {args.out} ({megabytes:.1f} MB), outputs {', '.join(exported.output_names)}")


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for values that cannot be, and options that exclude each other."""
    wrong = {
        f"out: {args.out} must end in .onnx": args.out.suffix != ".onnx",
        f"--opset {args.opset}: the exporter writes 18 or more": args.opset < 18,
        f"--size {args.size}: must be two numbers above 0": min(args.size) < 1,
        f"--calibrate {args.calibrate}: must be above 0": args.calibrate < 1,
        "--int8 is for whole models that take images": args.int8
        and (args.features or args.input != "images"),
        "--int8 and --fp16 exclude each other": args.int8 and args.fp16,
        "--features takes normalised images already: leave out --input": args.features
        and args.input != "images",
    }
    problems = [problem for problem, is_wrong in wrong.items() if is_wrong]
    if problems:
        raise UserError(problems)


def compare(
    args: argparse.Namespace, exported: Exported, model: nn.Module, cfg: Config, path: Path
) -> str:
    """Compare the file with the model; returns what was compared."""
    from ..deploy.exported_model import Session
    from ..deploy.images import example_batches, read_images
    from ..deploy.verify import HALF_TOLERANCE, TOLERANCE, verify

    if exported.task == "features":
        height, width = args.size
        sizes = [(height, width), (height + 37, width + 11), (height + 64, width + 5)]
        batches = [exported.example(size, number) for number, size in enumerate(sizes, 1)]
    else:
        images = read_images(cfg, "test", 3, exported.steps, args.images)
        batches = example_batches(images, tuple(args.size) if exported.floats else None)
        sizes = list(dict.fromkeys(tuple(batch.shape[1:3]) for batch in batches))
    tolerance = HALF_TOLERANCE if args.fp16 else TOLERANCE
    difference, count = verify(exported, model, Session(path), batches, tolerance)
    what = "detections" if exported.task == "detection" else "images"
    return f"verified at {listed(sizes)}: {count} {what} agree within {difference:.1e}"


def listed(sizes: Sequence[Sequence[int]]) -> str:
    """Sizes in words: ``75×100, 60×90 and 86×105``."""
    *others, last = [f"{height}×{width}" for height, width in sizes]
    return f"{', '.join(others)} and {last}" if others else last
