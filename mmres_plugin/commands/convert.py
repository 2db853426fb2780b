"""Convert a published file to a checkpoint that MMPretrain and MMDetection can load.

    python tools/model_converters/convert_checkpoint.py SRC DST --model iresnet50_8xb32_in1k

No code in the file is run. docs/weights.md lists published files.
"""

import argparse
import re
import sys

from ..weights import convert_checkpoint
from ..weights.convert import Conversion
from ..weights.sources import SOURCES


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", help="published file: .pth, .safetensors, or an address")
    parser.add_argument("dst", help="checkpoint to write: .pth or .safetensors")
    parser.add_argument(
        "--source", choices=SOURCES, help="where the file comes from, if the command cannot tell"
    )
    parser.add_argument("--model", help="model of the hub, or config, that the result must fit")
    parser.add_argument("--verbose", action="store_true", help="list every tensor")
    return parser.parse_args(argv)


def table(conversion: Conversion, verbose: bool = False) -> str:
    """A list of the tensors that were kept, renamed and dropped.

    Without ``verbose``, names that differ only in numbers share a line.
    """
    pairs = {
        "matched": [(old, "") for old, new in conversion.names.items() if old == new],
        "renamed": [(old, f" -> {new}") for old, new in conversion.names.items() if old != new],
        "dropped": [(old, "") for old in conversion.dropped],
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
    args = parse_args(argv)
    try:
        conversion = convert_checkpoint(args.src, args.dst, args.source, args.model)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    source = SOURCES[conversion.source]
    print(f"{args.src}: {source.title} ({conversion.source})")
    print(table(conversion, args.verbose))
    if not any(name.startswith("head.") for name in conversion.state_dict):
        print("the file has no classifier: the checkpoint is a backbone")
    if args.model:
        print(f"fits {args.model}: names and shapes match in the parts that both have")
    if source.note:
        print(f"note: {source.note}")
    print(f"wrote {args.dst}")
