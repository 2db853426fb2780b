"""Tiny data sets in the layouts of COCO 2017, ImageNet, CIFAR and CUB, for tests that really train.

The same arguments always give the same pictures.
"""

import json
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def draw(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A noisy picture of ``size`` (height, width) with one bright box, and the box (x, y, w, h)."""
    height, width = size
    picture = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
    w, h = (int(side * rng.uniform(0.3, 0.6)) for side in (width, height))
    x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    picture[y : y + h, x : x + w] = rng.integers(120, 255, 3, dtype=np.uint8)
    return picture, [x, y, w, h]


def make_coco(
    root: str | Path,
    train: int = 4,
    val: int = 2,
    size: tuple[int, int] = (64, 80),
    names: Sequence[str] = (),
    seed: int = 0,
) -> Path:
    """Write ``annotations/instances_{train,val}2017.json`` and ``{train,val}2017/*.jpg``.

    Args:
        root: Folder to write into; made if missing.
        train: Number of training images, each with one object.
        val: Number of validation images.
        size: Height and width of the images in pixels.
        names: Names of the categories; COCO's if there are none.
        seed: For other pictures.

    Returns:
        ``root`` as a path.
    """
    if not names:
        from mmdet.datasets import CocoDataset  # needs the operators of MMCV

        names = CocoDataset.METAINFO["classes"]
    root, rng = Path(root), np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]
    for split, count in (("train2017", train), ("val2017", val)):
        (root / split).mkdir(exist_ok=True)
        images, annotations = [], []
        for index in range(1, count + 1):
            picture, box = draw(size, rng)
            x, y, w, h = box
            name = f"{index:012d}.jpg"
            cv2.imwrite(str(root / split / name), picture)
            images.append({"id": index, "file_name": name, "height": size[0], "width": size[1]})
            annotations.append(
                {
                    "id": index,
                    "image_id": index,
                    "category_id": 1 + index % len(names),
                    "bbox": box,
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def make_imagenet(
    root: str | Path, train: int = 8, val: int = 4, size: int = 48, classes: int = 2, seed: int = 0
) -> Path:
    """Write ``{train,val}/<class>/*.JPEG`` and ``meta/{train,val}.txt``.

    The lists in ``meta`` make mmpretrain take fewer than 1,000 class folders.

    Args:
        root: Folder to write into; made if missing.
        train: Number of training images, dealt out to the classes in turn.
        val: Number of validation images.
        size: Height and width of the images in pixels.
        classes: Number of class folders, at most 1,000.
        seed: For other pictures.

    Returns:
        ``root`` as a path.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    (root / "meta").mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", val)):
        lines = []
        for index in range(count):
            label = index % classes
            name = f"n{label:08d}/{split}_{index:04d}.JPEG"
            (root / split / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / split / name), draw((size, size), rng)[0])
            lines.append(f"{name} {label}")
        (root / "meta" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def make_image_folders(root: str | Path, names: Sequence[str]) -> Path:
    """Write ``{train,val}/<name>/*.JPEG``, and no list of images.

    Args:
        root: Folder to write into; made if missing.
        names: Names of the class folders, at most four.

    Returns:
        ``root`` as a path.
    """
    root = make_imagenet(root, classes=len(names))
    shutil.rmtree(root / "meta")
    for split in ("train", "val"):
        for label, name in enumerate(names):
            os.rename(root / split / f"n{label:08d}", root / split / name)
    return root


def make_cifar(root: str | Path, train: int = 2, test: int = 2, seed: int = 0) -> Path:
    """Write CIFAR-10 and CIFAR-100 in their Python format, which checksums tell from the real ones.

    Args:
        root: Folder to write into; made if missing.
        train: Number of training images.
        test: Number of test images.
        seed: For other pictures.

    Returns:
        ``root`` as a path.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    batches = {f"data_batch_{i}": train if i == 1 else 0 for i in range(1, 6)}
    folders = {
        "cifar-10-batches-py": (batches | {"test_batch": test}, "labels"),
        "cifar-100-python": ({"train": train, "test": test}, "fine_labels"),
    }
    for folder, (files, labels) in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, count in files.items():
            pixels = rng.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
            content = {"data": pixels, labels: [index % 10 for index in range(count)]}
            (root / folder / name).write_bytes(pickle.dumps(content))
    return root


def make_cub(root: str | Path, images: int = 4, size: int = 48, seed: int = 0) -> Path:
    """Write CUB-200-2011's folder: ``images/<class>/*.jpg`` and its three lists.

    Args:
        root: Folder to write into; made if missing.
        images: Number of images, for training and for the test in turn.
        size: Height and width of the images in pixels.
        seed: For other pictures.

    Returns:
        ``root`` as a path.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    lists = {"images": [], "image_class_labels": [], "train_test_split": []}
    for index in range(1, images + 1):
        name = f"{index:03d}.Bird/bird_{index:04d}.jpg"
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "images" / name), draw((size, size), rng)[0])
        for key, value in zip(lists, (name, index, index % 2), strict=True):
            lists[key].append(f"{index} {value}\n")
    for key, lines in lists.items():
        (root / f"{key}.txt").write_text("".join(lines))
    return root
