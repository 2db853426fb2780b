"""Predict on an image, a video, a folder or a pattern, and draw what was found.

``python tools/predict.py photos/ my_config.py work_dirs/my_config/epoch_12.pth``
"""

import argparse
from collections import Counter
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ..engine.runner import user_errors
from ..errors import UserError, shortened
from ..predict import Output, Predictor, count, find_files, pictures
from ..predict.output import NAME


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Predict on images or videos; write drawn pictures and one JSON file"
    )
    parser.add_argument(
        "input", help="image, video, folder, or a pattern in quotes such as 'photos/*.jpg'"
    )
    parser.add_argument(
        "model", help="config file, name of a model (`mmres info`), or hf://owner/name"
    )
    parser.add_argument("checkpoint", nargs="?", help="its weights, a file or an address")
    parser.add_argument(
        "--out-dir", type=Path, default=Path("predictions"), help="default: predictions"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)")
    parser.add_argument("--batch-size", type=int, default=1, help="pictures at a time")
    parser.add_argument(
        "--score-threshold",
        type=float,
        help="leave out lower scores (default: 0.3 for detectors, 0 for classifiers)",
    )
    parser.add_argument("--top", type=int, default=5, help="classes listed by a classifier")
    parser.add_argument("--no-pictures", action="store_true", help="write the JSON file alone")
    args = parser.parse_args(argv)
    for name in ("batch_size", "top"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    return args


def predict(args: argparse.Namespace) -> None:
    files, root = find_files(args.input, leave_out=args.out_dir)
    total = count(files)
    predictor = Predictor(args.model, args.checkpoint, args.device, args.score_threshold, args.top)
    unreadable: list[Path] = []
    stream = track(
        pictures(files, unreadable),
        description="Predicting",
        total=total,
        console=Console(stderr=True),
    )
    found: Counter[str] = Counter()
    batch = list(islice(stream, args.batch_size))
    if not batch:
        raise UserError([f"no image can be read: {shortened(unreadable)}"])
    with Output(args.out_dir, files, root, predictor.about()) as out:
        while batch:
            samples = predictor.samples([picture.image for picture in batch])
            for picture, sample in zip(batch, samples, strict=True):
                predictions = predictor.predictions(sample)
                drawn = None if args.no_pictures else predictor.draw(picture.image, sample)
                out.add(picture, predictions, drawn)
                best = predictions[: 1 if predictor.task == "classification" else None]
                found.update(prediction["class"] for prediction in best)
            batch = list(islice(stream, args.batch_size))
        out.head["unreadable"] = list(map(str, unreadable))
    print(f"{len(out.results)} pictures: {counted(found)}")
    if unreadable:
        print(f"not read, or not to the end: {shortened(unreadable)}")
    print(
        f"written: {args.out_dir / NAME}" + ("" if args.no_pictures else " and pictures beside it")
    )


def counted(found: Counter) -> str:
    """How often each class was found, in words."""
    return ", ".join(f"{number} × {name}" for name, number in found.most_common(10)) or "nothing"


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with user_errors():
        predict(args)
