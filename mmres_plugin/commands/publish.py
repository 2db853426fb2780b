"""Make a file for publishing from a checkpoint: only the weights, with a hash in the file name.

mmres publish work_dirs/x/epoch_12.pth iresnet50.pth
"""

from ..cli import Parser
from ..errors import user_error


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres publish")
    parser.add_argument("src", help="checkpoint of a training")
    parser.add_argument("dst", help="file to write, without the hash: .pth or .safetensors")
    args = parser.parse_args(argv)
    from ..weights import publish_checkpoint

    with user_error("publish"):
        path = publish_checkpoint(args.src, args.dst)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
