"""Export a classifier or a detector to ONNX, from images to classes or boxes.

The command folds the norms and leaves batch, height and width free. Then it runs the file with ONNX
Runtime at three image sizes, compares the results with the model's, and keeps the file only if they
agree.
"""

import argparse
from pathlib import Path

from ..cli import Parser
from ..errors import UserError


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres export")
    add = parser.add_argument
    add("config", help="config file of a classifier or a detector")
    add("checkpoint", help="its checkpoint file, or 'none' for random weights")
    add("out", type=Path, help="file to write, NAME.onnx")
    what = "export the feature maps of the backbone, from normalised images"
    add("--features", action="store_true", help=what)
    what = "what the file takes: images of any number and size, N×H×W×3, uint8, RGB; or one "
    what += "normalised image of --size, 1×3×H×W, float32, for compilers of plain networks"
    add("--input", choices=["images", "nchw-float"], default="images", help=what)
    add("--softmax", action="store_true", help="export scores of a classifier, not logits")
    what = "export the K best scores of a classifier and their classes; 0 for all scores"
    add("--topk", type=int, default=0, metavar="K", help=what)
    what = "image size of the example that the export follows; that of the file with nchw-float"
    add("--size", type=int, nargs=2, default=[224, 224], metavar=("H", "W"), help=what)
    add("--opset", type=int, default=18, help="ONNX opset version, 18 or more")
    what = "images for the check (default: three of the test set)"
    add("--images", nargs="+", default=[], metavar="FILE", help=what)
    add("--int8", action="store_true", help="write an 8-bit file; the last layers stay in float")
    what = "with --int8: how many training images to calibrate with"
    add("--calibrate", type=int, default=64, metavar="N", help=what)
    what = "write weights and features in half precision; for classifiers and --features"
    add("--fp16", action="store_true", help=what)
    add("--no-verify", action="store_true", help="do not compare the file")
    what = "change settings of the config: model.test_cfg.score_thr=0.3"
    add("--cfg-options", nargs="+", metavar="KEY=VALUE", help=what)
    args = parser.parse_args(argv)
    check_arguments(args)
    from ..engine.quiet import hide_noise

    hide_noise("mmpretrain", "mmdet")
    from ..config import load_config
    from ..deploy.export import Exported, export_onnx
    from ..deploy.images import read_images
    from ..deploy.output import prepare_output
    from ..deploy.verify import verify_file
    from ..weights.files import atomic_write
    from ..weights.load import load_model

    prepare_output(args.out)
    cfg = load_config(args.config, args.cfg_options)
    model = load_model(cfg, None if args.checkpoint == "none" else args.checkpoint)
    exported = Exported(model, args.features, args.input != "images", args.softmax, args.topk)
    if args.fp16 and exported.task == "detection":
        raise UserError("--fp16: a detector's boxes need float32; use --int8, or --features")
    images = read_images(cfg, "train", args.calibrate, exported.steps) if args.int8 else []
    with atomic_write(args.out) as path:
        export_onnx(exported, path, tuple(args.size), args.opset)
        if args.fp16:
            from ..deploy.quantize import to_half

            to_half(path)
        if not args.no_verify:
            print(verify_file(path, exported, model, args))
        if args.int8:
            from ..deploy.quantize import quantize_onnx

            print(f"calibrating with {len(images)} images of the training set", flush=True)
            print(quantize_onnx(path, images))
    megabytes = args.out.stat().st_size / 1e6
    print(f"written: {args.out} ({megabytes:.1f} MB), outputs {', '.join(exported.output_names)}")


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for values that cannot be, and options that exclude each other."""
    floats = args.input != "images"
    wrong = {
        f"out: {args.out} must end in .onnx": args.out.suffix != ".onnx",
        f"--opset {args.opset}: the exporter writes 18 or more": args.opset < 18,
        f"--size {args.size}: must be two numbers above 0": min(args.size) < 1,
        f"--calibrate {args.calibrate}: must be above 0": args.calibrate < 1,
        "--int8 is for whole models that take images": args.int8 and (args.features or floats),
        "--int8 and --fp16 exclude each other": args.int8 and args.fp16,
        "--features takes normalised images: leave out --input": args.features and floats,
    }
    if problems := [problem for problem, is_wrong in wrong.items() if is_wrong]:
        raise UserError(problems)
