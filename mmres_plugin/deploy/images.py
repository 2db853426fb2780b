"""Images to try an exported file on: from the validation set, or files."""

from collections.abc import Sequence
from pathlib import Path

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
    """Three batches of images, N×H×W×3, uint8, RGB, each of another size.

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
            images = [pipeline({"img_path": str(path)})["img"] for path in found]
    except (OSError, KeyError, ValueError, AttributeError, cv2.error) as error:
        raise UserError(
            [f"the images for the check cannot be read ({error}): give some with --images"], ""
        ) from error
    batches = []
    for index, (down, across) in enumerate(SCALES):
        image = images[index % len(images)]
        height, width = image.shape[:2]
        size = (max(1, round(width * across)), max(1, round(height * down)))
        image = image if index == 0 else cv2.resize(image, size)
        pair = [image, image[:, ::-1]] if index == 0 else [image]
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
