"""Export a classifier or a detector to ONNX, from images to classes or boxes.

``python tools/deployment/export_onnx.py CONFIG CHECKPOINT model.onnx``

The command folds the norms and leaves batch, height and width free. Then it runs the file with ONNX
Runtime at three image sizes, compares the results with the model's, and keeps the file only if they
agree. A name that ends with .pt gives a TorchScript file.
"""

import argparse
from functools import partial
from pathlib import Path

from mmengine.config import DictAction

from ..config import load_config
from ..deploy import load_model
from ..deploy.export import (
    OLDEST_OPSET,
    Exported,
    Form,
    export_onnx,
    export_torchscript,
)
from ..deploy.images import calibration_images, example_batches
from ..deploy.output import prepare_output
from ..deploy.quantize import quantize_onnx
from ..deploy.verify import verify, verify_whole
from ..errors import UserError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export a model to ONNX or TorchScript")
    parser.add_argument("config", help="config file of a classifier or detector")
    parser.add_argument("checkpoint", help="its checkpoint file, or 'none' for random weights")
    parser.add_argument("out", type=Path, help="file to write: .onnx, or .pt for TorchScript")
    parser.add_argument(
        "--features",
        action="store_true",
        help="export the feature maps of the backbone, from normalised images",
    )
    parser.add_argument(
        "--resize",
        action="store_true",
        help="also resize the images in the file, as the test pipeline does",
    )
    outputs = parser.add_mutually_exclusive_group()
    outputs.add_argument(
        "--softmax", action="store_true", help="export a classifier's scores instead of its logits"
    )
    outputs.add_argument(
        "--topk", type=int, default=0, metavar="K", help="export the K best scores and their labels"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(224, 224),
        help="height and width of the example image",
    )
    parser.add_argument("--opset", type=int, default=OLDEST_OPSET, help="ONNX opset version")
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="FILE",
        help="images for the check (default: three of the test set)",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="write an 8-bit file; layers that lose too much stay in float",
    )
    parser.add_argument(
        "--calibrate",
        type=int,
        metavar="N",
        help="with --int8: how many training images to calibrate with (default: 64)",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not run the written file")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        help="change settings of the config: key=value, for example model.test_cfg.score_thr=0.3",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.out.suffix not in (".onnx", ".pt"):
        raise UserError([f"out: {args.out} must end in .onnx or .pt"])
    if args.opset < OLDEST_OPSET:
        raise UserError([f"--opset: {args.opset} is not supported by the exporter; use 18 or more"])
    if min(args.size) < 1:
        raise UserError([f"--size: {args.size} must be two numbers above 0"])
    if args.int8 and (args.features or args.out.suffix != ".onnx"):
        raise UserError(["--int8: only whole models in .onnx files can be in 8 bits"])
    if args.calibrate is not None and not (args.int8 and args.calibrate > 0):
        raise UserError([f"--calibrate: {args.calibrate} must be above 0, and goes with --int8"])
    prepare_output(args.out)
    checkpoint = None if args.checkpoint == "none" else args.checkpoint
    model = load_model(load_config(args.config, args.cfg_options), checkpoint)
    form = Form(args.features, args.resize, args.softmax, args.topk)
    exported = Exported(model, form)
    if args.no_verify:
        check = None
    elif exported.task == "features":
        check = partial(verify_features, exported, tuple(args.size))
    else:
        batches = example_batches(model.cfg, args.images, exported.steps)
        check = partial(verify_images, exported, model, batches)
    if args.int8:
        count = 64 if args.calibrate is None else args.calibrate
        check = partial(
            verify_and_quantize, check, calibration_images(model.cfg, count, exported.steps)
        )
    if args.out.suffix == ".onnx":
        export_onnx(exported, args.out, tuple(args.size), args.opset, check)
    else:
        export_torchscript(exported, args.out, tuple(args.size), check)
    megabytes = args.out.stat().st_size / 1e6
    print(f"written: {args.out} ({megabytes:.1f} MB), outputs {', '.join(exported.output_names)}")


def verify_features(exported: Exported, size: tuple[int, int], path: Path) -> None:
    sizes = [size, (size[0] + 37, size[1] + 11), (size[0] + 64, size[1] + 5)]
    difference = verify(exported, path, sizes)
    print(f"verified at {_listed(sizes)}: largest relative difference {difference:.1e}")


def verify_images(exported: Exported, model, batches, path: Path) -> None:
    difference, count = verify_whole(exported, model, path, batches)
    what = "detections" if exported.task == "detection" else "images"
    sizes = [tuple(images.shape[1:3]) for images in batches]
    print(f"verified at {_listed(sizes)}: {count} {what} agree, scores within {difference:.1e}")


def verify_and_quantize(check, images, path: Path) -> None:
    if check is not None:
        check(path)
    print(f"calibrating with {len(images)} images of the training set", flush=True)
    print(quantize_onnx(path, path, images).summary())


def _listed(sizes: list[tuple[int, int]]) -> str:
    texts = [f"{height}×{width}" for height, width in sizes]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
