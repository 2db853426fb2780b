"""Images to try an exported file on: from the validation set, or files."""

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

from ..errors import UserError

# Parts of height and width: one file must do for all sizes.
SCALES = ((1.0, 1.0), (0.8, 0.9), (1.15, 1.05))


def example_batches(cfg: Config, paths: Sequence[str | Path], steps: list[dict]) -> list[Tensor]:
    """Batches of images, N×H×W×3, uint8, RGB, of three sizes or more.

    Args:
        cfg: The config of the model.
        paths: Image files; if there are none, images of the validation set are taken.
        steps: The steps of the test pipeline that set the size.

    Raises:
        UserError: If there is no image, or one cannot be read.
    """
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            pipeline = Compose([{"type": "LoadImageFromFile"}, *steps])
            found = paths or _validation_files(cfg)
            results: list[Any] = [pipeline({"img_path": str(path)}) for path in found]
            images = [result["img"] for result in results]
    except (OSError, KeyError, ValueError, AttributeError, AssertionError, cv2.error) as error:
        raise UserError(
            [f"the images for the check cannot be read ({error}): give some with --images"], ""
        ) from error
    batches = []
    for index in range(max(len(images), len(SCALES))):
        image, (down, across) = images[index % len(images)], SCALES[index % len(SCALES)]
        height, width = image.shape[:2]
        size = (max(1, round(width * across)), max(1, round(height * down)))
        image = cv2.resize(image, size)
        pair = [image, image[:, ::-1]] if index == 0 else [image]  # a batch of two, too
        batches.append(torch.from_numpy(np.stack(pair)[..., ::-1].copy()))
    return batches


def _validation_files(cfg: Config) -> list[str]:
    """Files of as many images of the validation set as there are sizes."""
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader")
    if loader is None:
        raise ValueError("the config has no test_dataloader")
    dataset = DATASETS.build(loader["dataset"])
    count = len(dataset)
    return [dataset.get_data_info(i * count // len(SCALES))["img_path"] for i in range(len(SCALES))]
