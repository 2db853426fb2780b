"""Build small sets for detection and classification, without any download.

Handwritten digits, or with --shapes five shapes, on photographs:

    OUT/detection/annotations/instances_{train,val}2017.json   COCO's layout
    OUT/detection/{train,val}2017/*.jpg
    OUT/classification/{train,val}/CLASS/*.jpg                  a folder per class
    OUT/manifest.json                                           written last

The same arguments give the same data. A complete set is left alone.
"""

import json
import shutil
from pathlib import Path

from ..cli import Parser
from ..errors import UserError, user_error

BUILDER = "mmres_plugin digits"
NUMBERS = {  # option: value for digits, value for shapes, smallest value, what it is
    "train-images": (1120, 160, 1, "training scenes, for detection"),
    "val-images": (100, 60, 1, "validation scenes, for detection"),
    "size": (256, 256, 64, "side of a scene, in pixels"),
    "train-crops": (16000, 500, 10, "training crops, for classification"),
    "val-crops": (1000, 100, 10, "validation crops, for classification"),
    "crop-size": (40, 40, 32, "side of a crop, in pixels"),
    "seed": (0, 0, 0, "seed of every random choice"),
}


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres digits")
    parser.add_argument("--out", type=Path, help="folder (default: data/digits or data/shapes)")
    parser.add_argument("--shapes", action="store_true", help="shapes, not digits")
    for name, (of_digits, of_shapes, _, what) in NUMBERS.items():
        values = f"{of_digits}" + (f", with --shapes {of_shapes}" if of_shapes != of_digits else "")
        parser.add_argument(f"--{name}", type=int, help=f"{what} (default: {values})")
    objects = parser.add_argument("--train-objects", type=int, nargs=2, metavar=("MIN", "MAX"))
    objects.help = "digits in a training scene; validation scenes have 3 to 10"
    parser.set_defaults(train_objects=[10, 16])
    args = parser.parse_args(argv)
    args.out = args.out or Path("data/shapes" if args.shapes else "data/digits")
    for name, (of_digits, of_shapes, smallest, _) in NUMBERS.items():
        key = name.replace("-", "_")
        value = getattr(args, key)
        value = (of_shapes if args.shapes else of_digits) if value is None else value
        if value < smallest:
            raise UserError(f"--{name} is {value}, must be at least {smallest}")
        setattr(args, key, value)
    fewest, most = args.train_objects
    if not 1 <= fewest <= most <= 200:
        raise UserError(f"--train-objects is {fewest} {most}: give MIN and MAX, from 1 to 200")
    with user_error(f"cannot build {args.out}"):
        built = build(args)
    print(f"{args.out.absolute()}: {'built' if built else 'complete already, nothing to do'}")


def build(args) -> bool:
    """Build the set that the arguments ask for, unless it is there. Was it built?"""
    from ..digits.sets import SPLITS, draw_classification, draw_detection

    manifest = args.out / "manifest.json"
    wanted = json.dumps({"builder": BUILDER, **vars(args), "out": "complete"})
    found = manifest.read_text() if manifest.is_file() else ""
    if found == wanted:
        return False
    if args.out.exists() and any(args.out.iterdir()) and BUILDER not in found:
        raise UserError(f"{args.out} was not made by this command: choose another --out")
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    manifest.write_text(BUILDER)  # so that the next run may replace what is half-made
    for split in SPLITS:
        draw_detection(args, split, args.out / "detection")
        draw_classification(args, split, args.out / "classification")
    manifest.write_text(wanted)
    return True
