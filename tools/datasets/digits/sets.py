"""Write the two sets of data: scenes for detection, crops for classification."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from .scene import MIN_SIDE, DigitPainter

SPLITS = ("train", "val")


def draw_detection(args: argparse.Namespace, folder: Path) -> None:
    """Write scenes of several digits or shapes and their boxes, in COCO's layout.

    Training scenes are crowded: the more boxes an image has, the fewer images are needed.

    Beside COCO's own keys an image names its `photo` and `crop`, an annotation its digit `sample`.
    A box's area is width times height.
    """
    for number, split in enumerate(SPLITS):
        painter = DigitPainter(split, args.seed, args.kind)
        count = args.train_images if split == "train" else args.val_images
        fewest, most = args.train_objects if split == "train" else (3, 10)
        images, annotations = [], []
        for index in progress(f"detection {split}", count):
            # A generator per image: image k does not depend on how many others are asked for.
            rng = np.random.default_rng([args.seed, number, index])
            objects = rng.integers(fewest, most + 1)
            samples = rng.choice(painter.samples, objects, replace=False).tolist()
            scene = painter.draw(rng, args.size, samples, (MIN_SIDE + 1, 0.4 * args.size))
            name = f"{index + 1:012d}.jpg"
            write_image(folder / f"{split}2017" / name, scene.image)
            images.append(
                {
                    "id": index + 1,
                    "file_name": name,
                    "width": args.size,
                    "height": args.size,
                    "photo": scene.photo,
                    "crop": scene.crop,
                }
            )
            annotations += [
                {
                    "id": len(annotations) + position,
                    "image_id": index + 1,
                    "category_id": digit.label + 1,
                    "bbox": digit.box,
                    "area": digit.box[2] * digit.box[3],
                    "iscrowd": 0,
                    "sample": digit.sample,
                }
                for position, digit in enumerate(scene.digits, start=1)
            ]
        categories = [{"id": i, "name": name} for i, name in enumerate(painter.names, start=1)]
        target = folder / "annotations" / f"instances_{split}2017.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )


def draw_classification(args: argparse.Namespace, folder: Path) -> None:
    """Write crops of one digit each in one folder per class, as ImageNet is often kept."""
    for number, split in enumerate(SPLITS, start=len(SPLITS)):
        painter = DigitPainter(split, args.seed, args.kind)
        count = args.train_crops if split == "train" else args.val_crops
        labels, classes = painter.labels[painter.samples], len(painter.names)
        of_class = [painter.samples[labels == label] for label in range(classes)]
        for index in progress(f"classification {split}", count):
            rng = np.random.default_rng([args.seed, number, index])
            samples = of_class[index % classes]  # each class in turn: no folder stays empty
            sample = int(samples[index // classes % len(samples)])
            side = (max(MIN_SIDE + 1, 0.6 * args.crop_size), 0.9 * args.crop_size)
            scene = painter.draw(rng, args.crop_size, [sample], side)
            label = painter.names[painter.labels[sample]]
            write_image(folder / split / label / f"{index:06d}_sample{sample:04d}.jpg", scene.image)


def progress(title: str, count: int):
    """range(count) that says how far it is, in one line for every quarter."""
    for index in range(count):
        yield index
        done = index + 1
        if done == count or done * 4 // count > index * 4 // count:
            print(f"{title}: {done}/{count}", flush=True)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not cv2.imwrite, which only returns False when the disk is full.
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
