"""Check a config and its data before a training.

    mmres check CONFIG --picture samples.png

Says what `mmres train` and `mmres test` would say of the config, and reads all annotations and all
images, as the pipelines read them. Data in COCO's format, image folders and image lists can be
judged.

Exit code 0: no faults, and all was judged. 1: there are faults, or a data set was not judged.
2: the config cannot be read.
"""

import random
from collections import Counter
from pathlib import Path

from ..cli import Parser

ALL_LOOPS = ("train", "val", "test")
SIZES = ((32**2, "small"), (96**2, "medium"), (float("inf"), "large"))  # COCO's, in pixels


def main(argv: list[str] | None = None) -> int:
    parser = Parser(__doc__, prog="mmres check")
    add = parser.add_argument
    add("config", help="config file")
    add("--loops", nargs="+", choices=ALL_LOOPS, default=ALL_LOOPS, help="what to check")
    add("--workers", type=int, default=4, help="processes that read images")
    add("--picture", type=Path, help="PNG file for twelve images of each data set")
    add("--cfg-options", nargs="+", metavar="KEY=VALUE", help="change settings of the config")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}, must be 1 or more")
    if args.picture and args.picture.suffix.lower() not in (".png", ".jpg"):
        parser.error(f"--picture is {args.picture}, must end in .png or .jpg")
    from ..checks import Remark, Setup, find_problems
    from ..checks.contents import HINT, read_data
    from ..checks.data import missing_data
    from ..checks.faults import CHANGES, DROPPED, NO_FAULT, STOPS
    from ..checks.images import add_image_faults, draw_samples
    from ..config import load_config
    from ..deploy.output import prepare_output
    from ..engine.quiet import hide_noise

    cfg = load_config(args.config, args.cfg_options)
    hide_noise(cfg.get("default_scope"))
    if args.picture:
        prepare_output(args.picture)
    setups = [Setup(cfg, task) for task in ("train", "test")]
    setups = [setup for setup in setups if set(setup.loops) & set(args.loops)]
    sets = [data for setup in setups for data in setup.sets if data.loop in args.loops]
    missing = list(missing_data(sets))
    sets = [] if missing else sets
    not_judged = [f"{one.key} ({one.settings.get('type')})" for one in sets if not one.is_judged]
    found, samples, known = bool(missing), [], {}
    for data in [data for data in sets if data.is_judged]:
        read_data(data)
        same = known.setdefault((data.file, data.folder, data.loader), data.key)
        if same != data.key:
            print(f"\n{data.key}: as {same}")
            continue
        lines, some = classes_and_samples(data)
        print(f"\n{data.key} ({data.file or data.folder}): {len(data.images):,} images")
        add_image_faults(data, args.workers)
        for effect in (STOPS, DROPPED, CHANGES, NO_FAULT):
            for line in data.faults.lines(effect):
                print(f"  {line} ({effect})")
                found |= effect != NO_FAULT
        print("".join(f"    {line}\n" for line in lines), end="")
        samples += some
    texts = dict.fromkeys(text for setup in setups for text in find_problems(setup))
    for text in texts:
        kind = "remark" if isinstance(text, Remark) else "error"
        print(f"\n{kind}: {text.replace(f' ({HINT})', '')}")
        found |= kind == "error"
    if args.picture:
        draw_samples(samples, args.picture)
        print(f"\nsamples: {args.picture}")
    verdict = "There are faults." if found else "No faults in what was judged."
    print("\n" + (verdict if found or not_judged else "No faults."))
    if not_judged:
        print(f"Not judged, as its format is not known here: {', '.join(not_judged)}")
    return int(found or bool(not_judged))


def classes_and_samples(data) -> tuple[list[str], list]:
    """A line about each class of a data set, and twelve images for the picture of samples."""
    folder, lines, boxes = data.folder or Path(), [], {}
    if data.ids and data.images:  # else the file cannot be trained on
        names = {one["id"]: one["name"] for one in data.raw["categories"]}
        sizes = {name: Counter() for name in names.values()}
        for one in data.raw.get("annotations", ()):
            name, box = names.get(one["category_id"]), one.get("bbox")
            if name is not None and isinstance(box, list) and len(box) == 4:
                boxes.setdefault(one["image_id"], []).append((name, box))
                _, _, w, h = box
                sizes[name][next(size for limit, size in SIZES if w * h < limit)] += 1
        for name, number in sizes.items():
            shares = ", ".join(f"{number[size]} {size}" for _, size in SIZES)
            lines.append(f"{name}: {sum(number.values())} ({shares})")
            if not number:
                data.faults.add("class without objects", name)
        for number, name in data.ids.items():
            if number not in boxes:
                data.faults.add("image without objects", name)
    samples = [(folder / name, name, boxes.get(i, [])) for i, name in data.ids.items()]
    lines += [f"{label}: {len(paths):,}" for label, paths in data.labels.items()]
    samples += [(path, str(label), []) for label, paths in data.labels.items() for path in paths]
    return lines, random.Random(0).sample(samples, min(12, len(samples)))
