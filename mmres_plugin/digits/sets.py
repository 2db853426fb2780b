"""Write the two sets of data: scenes for detection, crops for classification.

``args`` are the arguments of ``mmres digits``.
"""

import argparse
import json
import os
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .scene import MIN_SIDE, Painter, Scene

SPLITS = ("train", "val")


def draw_detection(args: argparse.Namespace, split: str, folder: Path) -> None:
    """Write scenes of several digits or shapes and their boxes, in COCO's layout.

    Training scenes are crowded: the more boxes an image has, the fewer images are needed.

    Beside COCO's own keys an image names its `photo` and `crop`, an annotation its digit `sample`.
    A box's area is width times height.
    """
    painter = Painter(split, args.seed, args.shapes)
    fewest, most = args.train_objects if split == "train" else (3, 10)

    def draw(index: int) -> Scene:
        # A generator per image: image k does not depend on how many others are asked for.
        rng = np.random.default_rng([args.seed, SPLITS.index(split), index])
        objects = rng.integers(fewest, most + 1)
        samples = rng.choice(painter.samples, objects, replace=False).tolist()
        scene = painter.draw(rng, args.size, samples, (MIN_SIDE + 1, 0.4 * args.size))
        write_image(folder / f"{split}2017/{index + 1:012d}.jpg", scene.image)
        return scene

    images, annotations = [], []
    scenes = draw_all(f"detection {split}", draw, getattr(args, f"{split}_images"))
    for number, scene in enumerate(scenes, start=1):
        image = {"id": number, "file_name": f"{number:012d}.jpg"}
        image |= {"width": args.size, "height": args.size}
        images.append(image | {"photo": scene.photo, "crop": scene.crop})
        for digit in scene.digits:
            entry = {"id": len(annotations) + 1, "image_id": number}
            entry |= {"category_id": digit.label + 1, "bbox": digit.box}
            entry |= {"area": digit.box[2] * digit.box[3], "iscrowd": 0}
            annotations.append(entry | {"sample": digit.sample})
    categories = [{"id": i, "name": name} for i, name in enumerate(painter.names, start=1)]
    target = folder / "annotations" / f"instances_{split}2017.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    target.write_text(json.dumps(content))


def draw_classification(args: argparse.Namespace, split: str, folder: Path) -> None:
    """Write crops of one digit each in one folder per class, as ImageNet is often kept."""
    painter = Painter(split, args.seed, args.shapes)
    side = (max(MIN_SIDE + 1, 0.6 * args.crop_size), 0.9 * args.crop_size)

    def draw(index: int) -> None:
        label = index % len(painter.names)  # each class in turn: no folder stays empty
        samples = painter.samples[painter.labels[painter.samples] == label]
        sample = int(samples[index // len(painter.names) % len(samples)])
        rng = np.random.default_rng([args.seed, len(SPLITS) + SPLITS.index(split), index])
        image = painter.draw(rng, args.crop_size, [sample], side).image
        name = f"{index:06d}_sample{sample:04d}.jpg"
        write_image(folder / split / painter.names[label] / name, image)

    draw_all(f"classification {split}", draw, getattr(args, f"{split}_crops"))


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
