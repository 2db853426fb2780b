"""Write the two sets of data: scenes for detection, crops for classification."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from functools import cache, partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from .scene import MIN_SIDE, DigitPainter, DrawnDigit

SPLITS = ("train", "val")
MOST_WORKERS = 8
T = TypeVar("T")

painter_of = cache(DigitPainter)  # one per process, which draws many images


def workers() -> Pool:
    """A few processes to draw images."""
    return Pool(min(os.cpu_count() or 1, MOST_WORKERS), initializer=start_worker)


def start_worker() -> None:
    """Leave Ctrl-C to the parent process, and end when it has ended, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def draw_detection(args: argparse.Namespace, folder: Path, pool: Pool) -> None:
    """Write scenes of several digits or shapes and their boxes, in COCO's layout.

    Training scenes are crowded: the more boxes an image has, the fewer images are needed.

    Beside COCO's own keys an image names its `photo` and `crop`, an annotation its digit `sample`.
    A box's area is width times height.
    """
    for split in SPLITS:
        count = args.train_images if split == "train" else args.val_images
        draw = partial(draw_scene, args, folder / f"{split}2017", split)
        scenes = pool.imap(draw, range(count), chunksize=8)
        images, annotations = [], []
        drawn = enumerate(progress(f"detection {split}", scenes, count), start=1)
        for index, (photo, crop, digits) in drawn:
            images.append(
                {
                    "id": index,
                    "file_name": scene_name(index),
                    "width": args.size,
                    "height": args.size,
                    "photo": photo,
                    "crop": crop,
                }
            )
            annotations += [
                {
                    "id": len(annotations) + position,
                    "image_id": index,
                    "category_id": digit.label + 1,
                    "bbox": digit.box,
                    "area": digit.box[2] * digit.box[3],
                    "iscrowd": 0,
                    "sample": digit.sample,
                }
                for position, digit in enumerate(digits, start=1)
            ]
        names = painter_of(split, args.seed, args.kind).names
        categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
        target = folder / "annotations" / f"instances_{split}2017.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )


def draw_scene(
    args: argparse.Namespace, folder: Path, split: str, index: int
) -> tuple[str, tuple[int, int, int], list[DrawnDigit]]:
    """Write one scene. Returns its photo, crop and digits, all that the annotations need."""
    painter = painter_of(split, args.seed, args.kind)
    fewest, most = args.train_objects if split == "train" else (3, 10)
    # A generator per image: image k does not depend on how many others are asked for.
    rng = np.random.default_rng([args.seed, SPLITS.index(split), index])
    objects = rng.integers(fewest, most + 1)
    samples = rng.choice(painter.samples, objects, replace=False).tolist()
    scene = painter.draw(rng, args.size, samples, (MIN_SIDE + 1, 0.4 * args.size))
    write_image(folder / scene_name(index + 1), scene.image)
    return scene.photo, scene.crop, scene.digits


def scene_name(number: int) -> str:
    return f"{number:012d}.jpg"


def draw_classification(args: argparse.Namespace, folder: Path, pool: Pool) -> None:
    """Write crops of one digit each in one folder per class, as ImageNet is often kept."""
    for split in SPLITS:
        count = args.train_crops if split == "train" else args.val_crops
        draw = partial(draw_crop, args, folder / split, split)
        for _ in progress(f"classification {split}", pool.imap(draw, range(count), 64), count):
            pass


def draw_crop(args: argparse.Namespace, folder: Path, split: str, index: int) -> None:
    """Write one crop."""
    painter = painter_of(split, args.seed, args.kind)
    label = index % len(painter.names)  # each class in turn: no folder stays empty
    samples = painter.samples[painter.labels[painter.samples] == label]
    sample = int(samples[index // len(painter.names) % len(samples)])
    rng = np.random.default_rng([args.seed, len(SPLITS) + SPLITS.index(split), index])
    side = (max(MIN_SIDE + 1, 0.6 * args.crop_size), 0.9 * args.crop_size)
    scene = painter.draw(rng, args.crop_size, [sample], side)
    write_image(folder / painter.names[label] / f"{index:06d}_sample{sample:04d}.jpg", scene.image)


def progress(title: str, results: Iterable[T], count: int) -> Iterator[T]:
    """Hand on `count` results, and say how far it is in one line for every quarter."""
    for done, result in enumerate(results, start=1):
        yield result
        if done == count or done * 4 // count > (done - 1) * 4 // count:
            print(f"{title}: {done}/{count}", flush=True)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not cv2.imwrite, which only returns False when the disk is full.
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
