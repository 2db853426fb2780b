"""Draw what happens inside a trained model, as one picture.

    mmres maps layers CONFIG CHECKPOINT IMAGE --layers backbone.layer3.5
    mmres maps excitation CONFIG CHECKPOINT FOLDER
    mmres maps cam CONFIG CHECKPOINT IMAGE --classes cat dog

layers shows the maps that layers of the backbone return, each time that they run; excitation the
gates of SE layers, for a FOLDER with a folder of images for each class; cam where a classifier or a
detector looks (Grad-CAM).
"""

from pathlib import Path

from ..cli import Parser

MAX_COLUMNS = 8


def main(argv: list[str] | None = None) -> None:
    """Draw the picture."""
    parser = Parser(__doc__, prog="mmres maps")
    add = parser.add_argument
    add("kind", choices=["layers", "excitation", "cam"], help="what to draw")
    add("config", help="config file of a classifier or a detector")
    add("checkpoint", help="its checkpoint, or 'none' for random weights")
    add("image", type=Path, help="an image; for excitation also a folder")
    add("--layers", nargs="+", metavar="LAYER", default=["backbone.layer3"], help="for cam one")
    add("--images", type=int, default=20, help="for excitation: images of each class")
    add("--classes", nargs="+", metavar="NAME", help="for cam (default: the highest scores)")
    add("--columns", type=int, default=5, help="channels or classes shown at most")
    add("--out", type=Path, default=Path("maps.png"), help="PNG file to write")
    args = parser.parse_args(argv)
    if args.images < 1 or not 1 <= args.columns <= MAX_COLUMNS:
        parser.error(f"--images must be 1 or more, --columns 1 to {MAX_COLUMNS}")
    if args.out.suffix != ".png":
        parser.error(f"--out is {args.out}, must end in .png")
    if not args.image.exists():
        parser.error(f"there is no {args.image}")
    from ..analysis import maps
    from ..weights.load import load_model

    model = load_model(args.config, None if args.checkpoint == "none" else args.checkpoint)
    if args.kind == "layers":
        rows = maps.layer_maps(model, args.image, args.layers, args.columns)
    elif args.kind == "excitation":
        rows = maps.excitation(model, args.image, args.images)
    else:
        rows = maps.cam(model, args.image, args.layers[0], args.classes, args.columns)
    maps.draw(rows, f"{Path(args.config).stem}, {args.image.name}", args.out)
    print(f"written: {args.out}")
