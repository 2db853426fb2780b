"""Images to try an exported file on, or to calibrate it with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor

from ..errors import UserError
from .preprocess import test_dataset, train_dataset

# What goes wrong with data sets and images: each class raises something else.
PROBLEMS = (OSError, KeyError, TypeError, ValueError, AttributeError, AssertionError)
# Parts of height and width: one file must do for all sizes.
SCALES = ((1.0, 1.0), (0.8, 0.9), (1.15, 1.05))


def example_batches(cfg: Config, paths: Sequence[str | Path], steps: list[dict]) -> list[Tensor]:
    """Batches of images, N×H×W×3, uint8, RGB, of three sizes or more.

    Args:
        cfg: The config of the model.
        paths: Image files; if there are none, images of the test set are used.
        steps: The steps of the test pipeline that set the size.

    Raises:
        UserError: If there is no image, or one cannot be read.
    """
    with _reading(cfg, "the images for the check cannot be read ({}): give some with --images"):
        found = paths or _spread(test_dataset(cfg), len(SCALES))
        images = _read(found, steps)
    batches = []
    for index in range(max(len(images), len(SCALES))):
        image, (down, across) = images[index % len(images)], SCALES[index % len(SCALES)]
        height, width = image.shape[:2]
        size = (max(1, round(width * across)), max(1, round(height * down)))
        image = cv2.resize(image, size)
        pair = [image, image[:, ::-1]] if index == 0 else [image]  # a batch of two, too
        batches.append(torch.from_numpy(np.stack(pair)[..., ::-1].copy()))
    return batches


def calibration_images(cfg: Config, count: int, steps: list[dict]) -> list[np.ndarray]:
    """Images evenly spread over the training set, 1×H×W×3 each, uint8, RGB.

    Args:
        cfg: The config of the model.
        count: How many.
        steps: As in :func:`example_batches`; none if the file resizes the images itself.

    Raises:
        UserError: If the training set has fewer, or one cannot be read.
    """
    with _reading(cfg, "the images for --calibrate cannot be read: {}"):
        files = _spread(train_dataset(cfg), count)
        if len(set(files)) < count:
            raise ValueError(f"the training set has only {len(set(files))}, and {count} are wanted")
        images = _read(files, steps)
    return [np.ascontiguousarray(image[None, ..., ::-1]) for image in images]


@contextmanager
def _reading(cfg: Config, message: str) -> Iterator[None]:
    """Turn what can go wrong with images into a UserError."""
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            yield
    except (*PROBLEMS, cv2.error) as error:
        raise UserError([message.format(error)], "") from error


def _spread(settings: dict, count: int) -> list[str]:
    """The files of this many images, evenly spread over the data set with these settings."""
    if not settings:
        raise ValueError("the config has no such data set")
    dataset = DATASETS.build({**settings, "pipeline": []})
    total = len(dataset)
    return [dataset.get_data_info(i * total // count)["img_path"] for i in range(count)]


def _read(paths: Sequence[str | Path], steps: list[dict]) -> list[np.ndarray]:
    """The images, H×W×3, uint8, BGR, after these steps of a pipeline."""
    pipeline = Compose([{"type": "LoadImageFromFile"}, *steps])
    results: list[Any] = [pipeline({"img_path": str(path)}) for path in paths]
    return [result["img"] for result in results]
