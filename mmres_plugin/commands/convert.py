"""Convert a published file to a checkpoint that MMPretrain and MMDetection can load.

    mmres convert SRC DST --model iresnet50_8xb32_in1k

No code in the file is run. docs/weights.md lists published files.
"""

import re

from ..cli import Parser
from ..errors import UserError


def parser() -> Parser:
    parser = Parser(__doc__, prog="mmres convert")
    parser.add_argument("src", help="published file: .pth, .safetensors, .npz, or an address")
    parser.add_argument("dst", help="checkpoint to write: .pth or .safetensors")
    parser.add_argument("--source", help="where the file comes from, if the command cannot tell")
    parser.add_argument("--prefix", help="what stands before the names of the network in the file")
    parser.add_argument("--model", help="model of the hub, or config, that the result must fit")
    parser.add_argument("--verbose", action="store_true", help="list every tensor")
    return parser


def table(names: dict[str, str], dropped: list[str], verbose: bool = False) -> str:
    """A list of the tensors that were kept, renamed and dropped.

    Without ``verbose``, names that differ only in numbers share a line.
    """
    pairs = {
        "matched": [(old, "") for old, new in names.items() if old == new],
        "renamed": [(old, f" -> {new}") for old, new in names.items() if old != new],
        "dropped": [(old, "") for old in dropped],
    }
    lines = []
    for kind, tensors in pairs.items():
        lines.append(f"{kind} {len(tensors)}")
        alike = {}
        for old, arrow in tensors:
            key = old if verbose else re.sub(r"\d+", "#", old.rpartition(".")[0])
            alike.setdefault(key, []).append(old + arrow)
        lines += [f"  {len(rows):4} × {rows[0]}" for rows in alike.values()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    from ..weights import convert_checkpoint
    from ..weights.sources import SOURCES

    try:
        conversion = convert_checkpoint(args.src, args.dst, args.source, args.model, args.prefix)
    except (OSError, ValueError, ImportError) as error:
        raise UserError([str(error)]) from error
    source = SOURCES[conversion.source]
    print(f"{args.src}: {source.title} ({conversion.source})")
    print(table(conversion.names, conversion.dropped, args.verbose))
    if not any(name.startswith("head.") for name in conversion.state_dict):
        print("the file has no classifier: the checkpoint is a backbone")
    if args.model:
        print(f"fits {args.model}: names and shapes match in the parts that both have")
    if source.note:
        print(f"note: {source.note}")
    print(f"wrote {args.dst}")
