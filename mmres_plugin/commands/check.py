"""Check a config and its data before a training.

    mmres check CONFIG --picture samples.png

Says what `mmres train` and `mmres test` would say of the config, and reads all annotations and all
images, as the pipelines read them. Data in COCO's format, image folders and image lists can be
judged.

Exit code 0: no faults, and all was judged. 1: there are faults, or a data set was not judged.
2: the config cannot be read.
"""

import random
from argparse import Namespace
from collections import Counter
from pathlib import Path

from ..cli import Parser

LOOPS = ("train", "val", "test")
SIZES = ((32**2, "small"), (96**2, "medium"), (float("inf"), "large"))  # COCO's, in pixels


def parse_args(argv: list[str] | None) -> Namespace:
    parser = Parser(__doc__, prog="mmres check")
    parser.add_argument("config", help="config file")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS, help="all by default")
    parser.add_argument("--workers", type=int, default=4, help="processes that read images")
    parser.add_argument("--picture", type=Path, help="draw twelve images of each data set (.png)")
    parser.add_argument(
        "--cfg-options", nargs="+", metavar="KEY=VALUE", help="change settings of the config"
    )
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}, must be 1 or more")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    from ..checks import Remark, find_problems, loops_of
    from ..checks.data import missing_data
    from ..checks.datasets import HINT, data_sets, is_judged, read_data
    from ..checks.faults import CHANGES, DROPPED, REMARK, STOPS
    from ..checks.images import draw_samples
    from ..config import load_config

    cfg = load_config(args.config, args.cfg_options)
    loops = tuple(loop for loop in args.loops if cfg.get(f"{loop}_dataloader") is not None)
    missing = list(missing_data(cfg, loops))
    sets = [] if missing else list(data_sets(cfg, loops))
    not_judged = [
        f"{data.key} ({data.settings.get('type')})" for data in sets if not is_judged(data)
    ]
    read = [(data, read_data(data, keep=True)) for data in sets if is_judged(data)]
    found, samples, known = bool(missing), [], {}
    for data, content in read:
        if (data.file, data.folder, data.loader) in known:
            print(f"\n{data.key}: as {known[data.file, data.folder, data.loader]}")
            continue
        known[data.file, data.folder, data.loader] = data.key
        lines, some = describe(data, content)
        print(f"\n{data.key} ({data.file or data.folder}): {len(content.images):,} images")
        read_images(data, content, args.workers)
        for effect in (STOPS, DROPPED, CHANGES, REMARK):
            for line in content.faults.lines(effect):
                print(f"  {line} ({effect})")
                found |= effect != REMARK
        print("".join(f"    {line}\n" for line in lines), end="")
        samples += some
    tasks = [task for task in ("train", "test") if loops_of(cfg, task)]
    texts = dict.fromkeys(
        text
        for task in tasks
        if set(loops_of(cfg, task)) & set(loops)
        for text in find_problems(cfg, task, read)
    )
    for text in texts:
        kind = "remark" if isinstance(text, Remark) else "error"
        print(f"\n{kind}: {text.replace(f' ({HINT})', '')}")
        found |= not isinstance(text, Remark)
    if args.picture:
        draw_samples(samples, args.picture)
        print(f"\nsamples: {args.picture}")
    verdict = "There are faults." if found else "No faults in what was judged."
    print("\n" + (verdict if found or not_judged else "No faults."))
    if not_judged:
        print(f"Not judged, as its format is not known here: {', '.join(not_judged)}")
    return int(found or bool(not_judged))


def describe(data, content) -> tuple[list[str], list]:
    """A line about each class of a data set, and twelve images for the picture of samples."""
    from ..checks.images import Sample

    names, boxes = {}, {}
    if content.ids and content.images:
        names = {one["id"]: one["name"] for one in content.raw["categories"]}
    numbers: dict[str, Counter] = {name: Counter() for name in names.values()}
    for one in content.raw.get("annotations", ()) if names else ():
        if "bbox" in one and one["category_id"] in names:
            name = names[one["category_id"]]
            boxes.setdefault(one["image_id"], []).append((name, one["bbox"]))
            area = one["bbox"][2] * one["bbox"][3]
            numbers[name][next(size for limit, size in SIZES if area < limit)] += 1
    lines = []
    for name, number in numbers.items():
        sizes = ", ".join(f"{number[size]} {size}" for _, size in SIZES)
        lines.append(f"{name}: {sum(number.values())} ({sizes})")
        if not number:
            content.faults.add("class without objects", name)
    for number, name in content.ids.items() if names else ():
        if number not in boxes:
            content.faults.add("image without objects", str(name))
    lines += [f"{label}: {len(paths):,}" for label, paths in content.labels.items()]
    folder = data.folder or Path()
    flat = [Sample(folder / n, n, boxes.get(i, [])) for i, n in content.ids.items() if names]
    flat += [Sample(p, str(label), []) for label, ps in content.labels.items() for p in ps]
    return lines, random.Random(0).sample(flat, min(12, len(flat)))


def read_images(data, content, workers: int) -> None:
    """Read all images of a data set and add what is wrong with them to its faults."""
    from multiprocessing import Pool

    from tqdm import tqdm

    from ..checks.images import Task, image_fault
    from ..images import Loader

    tasks = [Task(path, size, data.loader or Loader()) for path, size in content.images]
    with Pool(workers) as pool:
        results = pool.imap_unordered(image_fault, tasks, chunksize=16)
        for fault in sorted(
            filter(None, tqdm(results, total=len(tasks), unit="image", disable=None))
        ):
            content.faults.add(*fault)
