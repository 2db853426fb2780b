"""Read all that a config will train and test on, and report what is wrong with it.

    python tools/datasets/check_dataset.py CONFIG --picture samples.png

Data sets in COCO's format, image folders and image lists are read: annotations, and each image to
its last line. The exit code is 0 if nothing is wrong, 1 if something is, and 2 if the config cannot
be read. Images and classes without objects are named but do not count.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

from mmengine.config import DictAction
from mmengine.registry import DATASETS
from tqdm import tqdm

from ..checks.annotations import coco_faults, empty_faults
from ..checks.data import dataset_paths, local, missing_data
from ..checks.faults import REMARK, STOPS, Fault, summary
from ..checks.folders import folder_faults, folder_images, listed_images
from ..checks.images import draw_samples, image_fault
from ..config import load_config
from ..config_parts import datasets, look_up, scope_of
from ..engine.runner import user_errors
from ..errors import UserError

LOOPS = ("train", "val", "test")
SIZES = ((32**2, "small"), (96**2, "medium"), (float("inf"), "large"))  # COCO's, in pixels


class Content(NamedTuple):
    """What one data set reads.

    Attributes:
        images: Path of each image, with the width and height that it must have or None.
        faults: Those of annotations, lists and folders.
        counts: Lines about its classes.
        samples: Path, title and boxes of each image, for the picture.
    """

    images: list[tuple[Path, tuple[int, int] | None]]
    faults: list[Fault]
    counts: list[str]
    samples: list[tuple[Path, str, list]]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="config file")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS, help="default: all")
    parser.add_argument("--workers", type=int, default=4, help="processes that read images (4)")
    parser.add_argument("--picture", type=Path, help="draw twelve images of each data set (.png)")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="as in tools/train.py")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}, must be 1 or more")
    return args


def read_coco(path: Path, folder: Path) -> Content:
    """The content of an annotation file whose images are in ``folder``."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        return Content([], [Fault("not in the format", f"{path}: {error}")], [], [])
    faults = list(coco_faults(content))
    if any(effect == STOPS for _, effect, _ in summary(faults)):
        return Content([], faults, ["fix these faults first; then the images are checked"], [])
    faults += empty_faults(content)
    names = {category["id"]: category["name"] for category in content["categories"]}
    boxes: dict = {}
    numbers: dict[str, Counter] = {name: Counter() for name in names.values()}
    for one in content["annotations"]:
        boxes.setdefault(one["image_id"], []).append(one["bbox"])
        size = next(name for limit, name in SIZES if one["bbox"][2] * one["bbox"][3] < limit)
        if one["category_id"] in names:
            numbers[names[one["category_id"]]][size] += 1
    counts = []
    for name, number in numbers.items():
        sizes = ", ".join(f"{number[size]} {size}" for _, size in SIZES)
        counts.append(f"{name}: {sum(number.values())} ({sizes})")
    images, samples = [], []
    for image in content["images"]:
        file = folder / image["file_name"]
        images.append((file, (image["width"], image["height"])))
        samples.append((file, image["file_name"], boxes.get(image["id"], [])))
    return Content(images, faults, counts, samples)


def read_classes(images: dict[str, list[Path]], faults: list[Fault]) -> Content:
    """The content of a data set of images by class."""
    counts = [f"{name}: {len(paths)}" for name, paths in images.items()]
    flat = [(path, name, []) for name, paths in images.items() for path in paths]
    return Content([(path, None) for path, _, _ in flat], faults, counts, flat)


def reader_of(dataset: dict, scope: str | None) -> tuple[str | None, Path | None, Path | None]:
    """The class that reads a data set's format, its annotation file or list, its image folder."""
    kind = look_up(dataset.get("type"), DATASETS, scope_of(dataset, scope))
    # Not the parents' names: a class with a format of its own has its own method.
    owners = (parent for parent in getattr(kind, "__mro__", ()) if "load_data_list" in vars(parent))
    reader = next((owner.__name__ for owner in owners), None)
    paths = {key: path for key, path, _ in dataset_paths(dataset, scope)}
    annotations = paths.pop("ann_file", None)
    split, root = dataset.get("split"), local(dataset.get("data_root"))
    if reader == "CustomDataset" and annotations is None and root and split:
        listed = root / "meta" / f"{split}.txt"  # ImageNet's
        annotations = listed if listed.is_file() else None
    return reader, annotations, next(reversed(paths.values()), None)


def contents(cfg, loops: tuple[str, ...]) -> Iterator[tuple[str, Content]]:
    """Places and contents of the data sets of ``loops``; each is read once."""
    known: dict[tuple, str] = {}
    for place, dataset in datasets(cfg, loops):
        if "dataset" in dataset or "datasets" in dataset:
            continue
        reader, annotations, folder = reader_of(dataset, cfg.get("default_scope"))
        if (annotations, folder) in known:
            print(f"\n{place}: as {known[annotations, folder]}")
            continue
        known[annotations, folder] = place
        if reader == "CocoDataset" and annotations:
            yield place, read_coco(annotations, folder or Path())
        elif reader == "CustomDataset" and annotations:
            yield place, read_classes(*listed_images(annotations, folder or Path()))
        elif reader == "CustomDataset" and folder:
            images = folder_images(folder)
            yield place, read_classes(images, list(folder_faults(images)))
        else:
            print(f"\n{place}: cannot be checked, its format is not one of those above")


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    found = False
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        loops = tuple(loop for loop in args.loops if cfg.get(f"{loop}_dataloader") is not None)
        missing = list(missing_data(cfg, loops))
        if missing:
            raise UserError(missing)
        samples = []
        for place, content in contents(cfg, loops):
            print(f"\n{place}: {len(content.images)} images, {len(content.counts)} classes")
            with Pool(args.workers) as pool:
                results = pool.imap_unordered(image_fault, content.images, chunksize=16)
                progress = tqdm(results, total=len(content.images), unit="image", disable=None)
                bad = sorted(fault for fault in progress if fault)
            for _, effect, line in summary([*content.faults, *bad]):
                print(f"  {line} ({effect})")
                found |= effect != REMARK
            for line in content.counts:
                print(f"    {line}")
            samples += random.Random(0).sample(content.samples, min(12, len(content.samples)))
        if args.picture:
            draw_samples(samples, args.picture)
            print(f"\nsamples: {args.picture}")
    print("\n" + ("There are faults." if found else "No faults."))
    sys.exit(int(found))
