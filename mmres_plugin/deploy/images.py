"""Images of a config's data sets, to try an exported file on or to calibrate it with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor

from ..config_parts import innermost
from ..errors import UserError

# What goes wrong with data sets and images: each class raises something else.
PROBLEMS = (OSError, KeyError, TypeError, ValueError, AttributeError, AssertionError, cv2.error)
# Parts of height and width: one file must do for all sizes.
SCALES = ((1.0, 1.0), (0.8, 0.9), (1.15, 1.05))


def read_images(
    cfg: Config, loop: str, count: int, steps: list[dict], paths: Sequence[str | Path] = ()
) -> list[np.ndarray]:
    """Images as they enter the exported file, H×W×3 each, uint8, RGB.

    Args:
        cfg: The config of the model.
        loop: Which data set, ``'train'`` or ``'test'``.
        count: How many images of it, evenly spread; a small test set gives some twice.
        steps: The steps of the test pipeline that set the size.
        paths: Image files to read instead.

    Raises:
        UserError: If there are too few, or one cannot be read.
    """
    pipeline = [{"type": "LoadImageFromFile"}, *steps]
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            if paths:
                load = Compose(pipeline)
                results: list[Any] = [load({"img_path": str(path)}) for path in paths]
            else:
                settings = innermost(cfg.get(f"{loop}_dataloader") or cfg.get("val_dataloader"))
                dataset = DATASETS.build({**settings, "pipeline": pipeline})
                if len(dataset) < (count if loop == "train" else 1):
                    raise ValueError(f"there are only {len(dataset)}, and {count} are wanted")
                results = [dataset[i * len(dataset) // count] for i in range(count)]
            return [np.ascontiguousarray(result["img"][..., ::-1]) for result in results]
    except PROBLEMS as error:
        hint = ": give some with --images" if loop == "test" else ""
        raise UserError(f"the images of the {loop} set cannot be read ({error}){hint}") from error


def example_batches(images: Sequence[np.ndarray], size: tuple[int, int] | None) -> list[Tensor]:
    """Batches of images of several sizes, N×H×W×3, uint8; the first has two.

    Args:
        images: What :func:`read_images` returned.
        size: Height and width of all, in batches of one; by default those of the images, scaled.
    """
    batches = []
    for index in range(max(len(images), len(SCALES))):
        image, (down, across) = images[index % len(images)], SCALES[index % len(SCALES)]
        height, width = image.shape[:2]
        wanted = size or (max(1, round(height * down)), max(1, round(width * across)))
        image = cv2.resize(image, wanted[::-1])
        pair = [image, image[:, ::-1]] if index == 0 and size is None else [image]
        batches.append(torch.from_numpy(np.stack(pair)))
    return batches
