"""Predict on an image, a video, a folder or a pattern, and draw what was found.

The command writes drawn pictures and one JSON file.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from ..cli import Parser
from ..errors import UserError, collecting, shortened


def main(argv: list[str] | None = None) -> None:
    parser = Parser(__doc__, prog="mmres predict")
    add = parser.add_argument
    add("input", help="image, video, folder, or a pattern in quotes such as 'photos/*.jpg'")
    add("model", help="config file, name of a model (`mmres info`), or hf://owner/name")
    add("checkpoint", nargs="?", help="its weights, a file or an address")
    add("--out-dir", type=Path, default=Path("predictions"), help="folder")
    add("--device", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)")
    add("--batch-size", type=int, default=1, help="pictures at a time")
    what = "leave out lower scores (default: 0.3 for detectors, 0 for classifiers)"
    add("--score-threshold", type=float, help=what)
    add("--top", type=int, default=5, help="classes listed by a classifier")
    add("--no-pictures", action="store_true", help="write the JSON file alone")
    args = parser.parse_args(argv)
    for name in ("batch_size", "top"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more")
    from ..engine.quiet import hide_noise

    hide_noise("mmpretrain", "mmdet")
    from rich.console import Console
    from rich.progress import track

    from ..deploy.output import prepare_output
    from ..predict import Predictor, files
    from ..weights.files import atomic_write

    paths, root, passed_over = files.find_files(args.input, args.out_dir)
    names = files.drawn_names(paths, root, args.out_dir)
    predictor = Predictor(args.model, args.checkpoint, args.device, args.score_threshold, args.top)
    has_video, loader = any(map(files.is_video, paths)), predictor.loader
    if has_video and (loader.color_type == "unchanged" or loader.backend == "tifffile"):
        print("frames of videos are read in colours of 8 bits; the model reads images unchanged")
    failed: dict[Path, str] = {}
    total = None if has_video else len(paths)
    console = Console(stderr=True)
    stream = track(files.pictures(paths, loader, failed), "Predicting", total, console=console)
    samples = predictor.each(stream, args.batch_size, failed)
    first = next(samples, None)
    if first is None:
        reasons = [f"{path}: {reason}" for path, reason in failed.items()]
        raise UserError(f"nothing can be predicted. {shortened(reasons)}")
    out = args.out_dir / "predictions.json"
    prepare_output(out)
    results, found, problems = [], Counter(), []

    def drawn(pairs: Iterable[tuple[files.Picture, Any]]) -> Iterator[Any]:
        """Note what was found in each picture; draw it if that is wanted."""
        for picture, sample in pairs:
            predictions = predictor.predictions(sample)
            height, width = picture.image.shape[:2]
            frame = {} if picture.frame is None else {"frame": picture.frame}
            about = {"file": str(picture.path), **frame, "height": height, "width": width}
            results.append(about | {"predictions": predictions})
            best = predictions[: 1 if predictor.task == "classification" else None]
            found.update(prediction["class"] for prediction in best)
            if not args.no_pictures:
                yield predictor.draw(picture.image, sample)

    if not args.no_pictures:
        files.use_font_for(predictor.classes or [])
    for path, pairs in groupby(chain([first], samples), lambda pair: pair[0].path):
        if args.no_pictures:
            list(drawn(pairs))
            continue
        with collecting(problems):
            files.write_drawn(path, names[path], drawn(pairs))
    head = {
        "model": args.model,
        "checkpoint": predictor.checkpoint,
        "task": predictor.task,
        "classes": predictor.classes,
        "score_threshold": predictor.score_threshold,
        "unreadable": list(map(str, failed)),
    }
    with atomic_write(out) as temporary:
        text = json.dumps(head | {"results": results}, ensure_ascii=False)
        temporary.write_text(text, "utf-8", "backslashreplace")  # for names that are not UTF-8
    print(f"{len(results)} pictures: {counted(found) or 'nothing'}")
    if passed_over:
        print(f"passed over, as neither images nor videos: {counted(passed_over)}")
    for path, reason in failed.items():
        print(f"not predicted, or not to the end: {path}: {reason}")
    print(f"written: {out}{'' if args.no_pictures else ' and pictures beside it'}")
    if problems:
        raise UserError(problems)


def counted(found: Counter[str]) -> str:
    """How often each was found, in words."""
    return ", ".join(f"{number} × {name}" for name, number in found.most_common(10))
