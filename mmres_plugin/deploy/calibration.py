"""Images of the training set, from which the ranges of activations are taken."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from ..errors import UserError


def calibration_images(cfg: Config, count: int, steps: list[dict[str, Any]]) -> list[np.ndarray]:
    """Images evenly spread over the training set, 1×H×W×3 each, uint8, RGB.

    Args:
        cfg: The config of the model.
        count: How many.
        steps: The steps of the test pipeline that set the size; none if the file resizes.

    Raises:
        UserError: If the training set does not have as many, or one cannot be read.
    """
    dataset = (cfg.get("train_dataloader") or {}).get("dataset")
    if dataset is None:
        raise UserError(["--calibrate: the config has no train_dataloader to take images from"])
    while "dataset" in dataset:  # repeated, mixed and other wrapped sets
        dataset = dataset["dataset"]
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            built = DATASETS.build({**dataset, "pipeline": []})
            if not 0 < count <= len(built):
                raise UserError(
                    [
                        f"--calibrate: {count} images; the training set has {len(built)} to choose from"
                    ]
                )
            pipeline = Compose([{"type": "LoadImageFromFile"}, *steps])
            files = [built.get_data_info(i * len(built) // count)["img_path"] for i in range(count)]
            images = [pipeline({"img_path": file})["img"] for file in files]
    except (OSError, KeyError, AttributeError, cv2.error) as error:
        raise UserError([f"--calibrate: the training images cannot be read: {error}"]) from error
    return [np.ascontiguousarray(image[None, ..., ::-1]) for image in images]
