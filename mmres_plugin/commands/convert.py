"""Convert a published file to a checkpoint that MMPretrain and MMDetection can load.

    mmres convert SRC DST --model iresnet50_8xb32_in1k

No code in the file is run. docs/weights.md lists published files.
"""

from ..cli import Parser
from ..errors import EXAMPLES, user_error


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres convert")
    parser.add_argument("src", help="published file: .pth, .safetensors, .npz, or an address")
    parser.add_argument("dst", help="checkpoint to write: .pth or .safetensors")
    parser.add_argument("--source", help="where the file comes from (default: what its names tell)")
    parser.add_argument("--prefix", help="what stands before the names of the network in the file")
    parser.add_argument("--model", help="config file or model name that the result must fit")
    parser.add_argument("--verbose", action="store_true", help="list every tensor")
    args = parser.parse_args(argv)
    from ..weights import convert_checkpoint
    from ..weights.sources import SOURCES

    with user_error("convert"):
        conversion = convert_checkpoint(args.src, args.dst, args.source, args.model, args.prefix)
    source = SOURCES[conversion.source]
    print(f"{args.src}: {source.title} ({conversion.source})")
    tensors = {
        "matched": [old for old, new in conversion.names.items() if old == new],
        "renamed": [f"{old} -> {new}" for old, new in conversion.names.items() if old != new],
        "dropped": conversion.dropped,
    }
    for kind, lines in tensors.items():
        shown = lines if args.verbose else lines[:EXAMPLES]
        more = ["…"] if len(shown) < len(lines) else []
        print("\n  ".join([f"{kind} {len(lines)}", *shown, *more]))
    if not any(name.startswith("head.") for name in conversion.state_dict):
        print("the file has no classifier: the checkpoint is a backbone")
    if args.model:
        print(f"fits {args.model}: names and shapes match in the parts that both have")
    if source.note:
        print(f"note: {source.note}")
    print(f"wrote {args.dst}")
