"""Export a classifier or the features of a backbone to ONNX, or to TorchScript (.pt).

``python tools/deployment/export_onnx.py CONFIG CHECKPOINT model.onnx``

The command folds the norms and leaves batch, height and width dynamic. Then it runs the file with
ONNX Runtime at two image sizes and compares the outputs with the model's.
"""

import argparse
from pathlib import Path

from mmres_plugin.deploy import load_model
from mmres_plugin.deploy.export import Exported, export_onnx, export_torchscript, verify
from mmres_plugin.deploy.output import prepare_output
from mmres_plugin.engine.command_line import user_errors
from mmres_plugin.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export a model to ONNX or TorchScript")
    parser.add_argument("config", help="config file of a classifier or detector")
    parser.add_argument("checkpoint", help="its checkpoint file, or 'none' for random weights")
    parser.add_argument("out", type=Path, help="file to write: .onnx, or .pt for TorchScript")
    parser.add_argument(
        "--features",
        action="store_true",
        help="export the feature maps of the backbone, not the logits",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(224, 224),
        help="height and width of the example image",
    )
    parser.add_argument("--opset", type=int, default=18, help="ONNX opset version")
    parser.add_argument("--no-verify", action="store_true", help="do not run the written file")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out.suffix not in (".onnx", ".pt"):
        raise UserError([f"out: {args.out} must end in .onnx or .pt"])
    if args.opset < 18:
        raise UserError([f"--opset: {args.opset} is not supported by the exporter; use 18 or more"])
    checkpoint = None if args.checkpoint == "none" else args.checkpoint
    exported = Exported(load_model(args.config, checkpoint), args.features)
    size = tuple(args.size)
    prepare_output(args.out)
    if args.out.suffix == ".onnx":
        export_onnx(exported, args.out, size, args.opset)
    else:
        export_torchscript(exported, args.out, size)
    print(f"written: {args.out}, outputs {', '.join(exported.output_names)}")
    if not args.no_verify:
        sizes = [size, (size[0] + 37, size[1] + 11)]
        difference = verify(exported, args.out, sizes)
        texts = " and ".join(f"{height}×{width}" for height, width in sizes)
        print(f"verified at {texts}: largest relative difference {difference:.1e}")


if __name__ == "__main__":
    with user_errors():
        main()
