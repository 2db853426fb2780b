"""Write the two sets of data: scenes for detection, crops for classification.

``args`` are the arguments of ``mmres digits``.
"""

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .scene import MIN_SIDE, Painter, Scene

SPLITS = ("train", "val")


def draw_detection(args: argparse.Namespace, folder: Path) -> None:
    """Write scenes of several digits or shapes and their boxes, in COCO's layout.

    Training scenes are crowded: the more boxes an image has, the fewer images are needed.

    Beside COCO's own keys an image names its `photo` and `crop`, an annotation its digit `sample`.
    A box's area is width times height.
    """
    for split, count in zip(SPLITS, (args.train_images, args.val_images), strict=True):
        painter = Painter(split, args.seed, args.shapes)
        draw = partial(draw_scene, args, painter, folder / f"{split}2017", split)
        data: dict[str, list[dict]] = {"images": [], "annotations": []}
        for number, scene in enumerate(draw_all(f"detection {split}", draw, count), start=1):
            image = {"id": number, "file_name": scene_name(number)}
            image |= {"width": args.size, "height": args.size}
            data["images"].append(image | {"photo": scene.photo, "crop": scene.crop})
            for digit in scene.digits:
                entry = {"id": len(data["annotations"]) + 1, "image_id": number}
                entry |= {"category_id": digit.label + 1, "bbox": digit.box}
                entry |= {"area": digit.box[2] * digit.box[3], "iscrowd": 0}
                data["annotations"].append(entry | {"sample": digit.sample})
        data["categories"] = [{"id": i, "name": n} for i, n in enumerate(painter.names, start=1)]
        target = folder / "annotations" / f"instances_{split}2017.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(data))


def draw_scene(
    args: argparse.Namespace, painter: Painter, folder: Path, split: str, index: int
) -> Scene:
    """Write one scene, and return it."""
    fewest, most = args.train_objects if split == "train" else (3, 10)
    # A generator per image: image k does not depend on how many others are asked for.
    rng = np.random.default_rng([args.seed, SPLITS.index(split), index])
    objects = rng.integers(fewest, most + 1)
    samples = rng.choice(painter.samples, objects, replace=False).tolist()
    scene = painter.draw(rng, args.size, samples, (MIN_SIDE + 1, 0.4 * args.size))
    write_image(folder / scene_name(index + 1), scene.image)
    return scene


def scene_name(number: int) -> str:
    return f"{number:012d}.jpg"


def draw_classification(args: argparse.Namespace, folder: Path) -> None:
    """Write crops of one digit each in one folder per class, as ImageNet is often kept."""
    for split, count in zip(SPLITS, (args.train_crops, args.val_crops), strict=True):
        painter = Painter(split, args.seed, args.shapes)
        draw = partial(draw_crop, args, painter, folder / split, split)
        draw_all(f"classification {split}", draw, count)


def draw_crop(
    args: argparse.Namespace, painter: Painter, folder: Path, split: str, index: int
) -> None:
    """Write one crop."""
    label = index % len(painter.names)  # each class in turn: no folder stays empty
    samples = painter.samples[painter.labels[painter.samples] == label]
    sample = int(samples[index // len(painter.names) % len(samples)])
    rng = np.random.default_rng([args.seed, len(SPLITS) + SPLITS.index(split), index])
    side = (max(MIN_SIDE + 1, 0.6 * args.crop_size), 0.9 * args.crop_size)
    scene = painter.draw(rng, args.crop_size, [sample], side)
    write_image(folder / painter.names[label] / f"{index:06d}_sample{sample:04d}.jpg", scene.image)


def draw_all(title: str, draw: Callable[[int], Any], count: int) -> list[Any]:
    """What ``draw`` returns for each of `count` indices; threads share the work."""
    with ThreadPool(os.cpu_count()) as pool:
        drawn = list(pool.imap(draw, range(count), chunksize=8))
    print(f"{title}: {count} images", flush=True)
    return drawn


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not cv2.imwrite, which only returns False when the disk is full.
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
