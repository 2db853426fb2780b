"""Make a file for publishing from a checkpoint: only the weights, with a hash in the file name.

python tools/model_converters/publish_model.py work_dirs/x/epoch_12.pth iresnet50.pth
"""

import argparse
import sys
from pathlib import Path

from ..weights import publish_checkpoint


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", help="checkpoint of a training")
    parser.add_argument("dst", help="file to write, without the hash: .pth or .safetensors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        path = publish_checkpoint(args.src, args.dst)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    sizes = [Path(name).expanduser().stat().st_size / 1e6 for name in (args.src, path)]
    print(f"wrote {path} ({sizes[1]:.1f} MB of {sizes[0]:.1f} MB)")
