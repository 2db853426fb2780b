"""Images as a camera or a decoder gives them, turned into what the network sees, in the graph."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportOperatorIssue=false

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..errors import UserError

# Steps of a test pipeline that do not touch the pixels.
OTHER_STEPS = {"LoadImageFromFile", "LoadAnnotations", "PackDetInputs", "PackInputs"}


class Preprocess(nn.Module):
    """uint8 RGB images, N×H×W×3, to the normalised and padded input of the network, N×3×H'×W'.

    Args:
        preprocessor: The ``data_preprocessor`` of the model, from MMDetection or MMPretrain.
        steps: The steps of the test pipeline that change the size, from :func:`sizing_steps`;
            none if the images come in the size that the network is to see.
    """

    def __init__(self, preprocessor: nn.Module, steps: list[dict[str, Any]]) -> None:
        super().__init__()
        self.steps = steps
        self.bgr = not takes_rgb(preprocessor)
        self.divisor = preprocessor.pad_size_divisor
        self.pad_value = preprocessor.pad_value
        for name in ("mean", "std"):
            self.register_buffer(name, getattr(preprocessor, name, None))

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Returns the input of the network, and height and width before the padding."""
        x = images.permute(0, 3, 1, 2).float()
        x = resize(x, self.steps)
        height, width = x.shape[2:]
        if self.bgr:
            x = x.flip(1)
        if self.mean is not None:
            x = (x - self.mean) / self.std
        if self.divisor > 1:
            x = F.pad(x, (0, -width % self.divisor, 0, -height % self.divisor), value=self.pad_value)
        return x, (height, width)


def takes_rgb(preprocessor: nn.Module) -> bool:
    """Whether the network wants RGB; the packages read images as BGR."""
    to_rgb = getattr(preprocessor, "to_rgb", None)  # MMPretrain
    return bool(getattr(preprocessor, "_channel_conversion", False) if to_rgb is None else to_rgb)


def sizing_steps(cfg: Config) -> list[dict[str, Any]]:
    """The steps of the test pipeline of ``cfg`` that change the size of images.

    Raises:
        UserError: If it has a step that :func:`resize` does not know.
    """
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader") or {}
    dataset = loader.get("dataset", {})
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    steps = []
    for step in dataset.get("pipeline", []):
        name = step["type"].rpartition(".")[2]
        if name in OTHER_STEPS:
            continue
        settings = {key: value for key, value in step.items() if key != "type"}
        steps.append({"type": name, **settings})
    return steps


def resize(x: Tensor, steps: list[dict[str, Any]]) -> Tensor:
    """Apply the steps to a batch, N×3×H×W with values from 0 to 255."""
    for step in steps:
        settings = {key: value for key, value in step.items() if key != "type"}
        x = STEPS[step["type"]](x, **settings)
    return x


def _interpolate(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, and rounded as the uint8 images that OpenCV returns."""
    return F.interpolate(x, (height, width), mode="bilinear").round()


def _resize(x: Tensor, scale: tuple[int, int], keep_ratio: bool = False) -> Tensor:
    if not keep_ratio:
        return _interpolate(x, scale[1], scale[0])
    height, width = x.shape[2:]
    factor = torch.sym_min(
        max(scale) / torch.sym_max(height, width), min(scale) / torch.sym_min(height, width)
    )
    return _interpolate(x, int(height * factor + 0.5), int(width * factor + 0.5))


def _resize_edge(x: Tensor, scale: int, edge: str = "short") -> Tensor:
    height, width = x.shape[2:]
    side = {
        "short": torch.sym_min(height, width),
        "long": torch.sym_max(height, width),
        "width": width,
        "height": height,
    }[edge]
    return _interpolate(x, scale * height // side, scale * width // side)


def _center_crop(x: Tensor, crop_size: int | tuple[int, int]) -> Tensor:
    wanted = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    for dim, size in enumerate(wanted, 2):
        x = x.narrow(dim, (x.shape[dim] - size) // 2, size)
    return x


STEPS: dict[str, Callable[..., Tensor]] = {
    "Resize": _resize,
    "ResizeEdge": _resize_edge,
    "CenterCrop": _center_crop,
}
