"""Images as a camera or a decoder gives them, turned into what the network sees, in the graph."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false, reportOperatorIssue=false

from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..config_parts import innermost, type_name
from ..errors import UserError

# How images are resized here; MMCV can do it in other ways.
DEFAULTS = {"backend": "cv2", "interpolation": "bilinear", "clip_object_border": True}


class Sizing(nn.Module):
    """uint8 images, N×H×W×3, resized and cropped as in the test pipeline.

    Args:
        steps: The steps of the test pipeline that set the size, from :func:`sizing_steps`.

    Raises:
        UserError: If a step is not covered.
    """

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        super().__init__()
        check_steps(steps)
        self.steps = steps

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns N×h×w×3, uint8, and by what to multiply boxes in them to get boxes in ``images``.

        The factors are those of x1, y1, x2 and y2.
        """
        x = resize(images.permute(0, 3, 1, 2).float(), self.steps)
        down, across = images.shape[1] / x.shape[2], images.shape[2] / x.shape[3]
        factors = [torch.scalar_tensor(factor) for factor in (across, down)]
        return x.permute(0, 2, 3, 1).to(torch.uint8), torch.stack(factors * 2)


class Preprocess(nn.Module):
    """uint8 RGB images, N×H×W×3, to the normalised and padded input of the network, N×3×H'×W'.

    Args:
        preprocessor: The ``data_preprocessor`` of the model, from MMDetection or MMPretrain.
    """

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        self.bgr = not takes_rgb(preprocessor)
        self.divisor = preprocessor.pad_size_divisor
        self.pad_value = preprocessor.pad_value
        for name in ("mean", "std"):
            self.register_buffer(name, getattr(preprocessor, name, None))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the input of the network, padded at the right and at the bottom."""
        height, width = images.shape[1:3]
        x = images.permute(0, 3, 1, 2).float()
        if self.bgr:
            x = x.flip(1)
        if self.mean is not None:
            x = (x - self.mean) / self.std
        if self.divisor > 1:
            missing = (0, -width % self.divisor, 0, -height % self.divisor)
            x = F.pad(x, missing, value=self.pad_value)
        return x


def takes_rgb(preprocessor: nn.Module) -> bool:
    """Whether the network wants RGB; the packages read images as BGR."""
    to_rgb = getattr(preprocessor, "to_rgb", None)  # MMPretrain
    return bool(getattr(preprocessor, "_channel_conversion", False) if to_rgb is None else to_rgb)


def test_dataset(cfg: Config) -> dict[str, Any]:
    """The settings of the data set that ``cfg`` is tested with, without wrappers; empty if none."""
    return innermost(cfg.get("test_dataloader") or cfg.get("val_dataloader"))


def train_dataset(cfg: Config) -> dict[str, Any]:
    """The same of the data set that ``cfg`` is trained with."""
    return innermost(cfg.get("train_dataloader"))


def sizing_steps(cfg: Config) -> list[dict[str, Any]]:
    """The steps of the test pipeline of ``cfg`` between loading and packing: they set the size."""
    steps = [dict(step) for step in test_dataset(cfg).get("pipeline", [])]
    return [step for step in steps if not type_name(step).startswith(("Load", "Pack"))]


def check_steps(steps: list[dict[str, Any]]) -> None:
    """Raise UserError for a step that :func:`resize` does not do as the pipeline does."""
    for step in steps:
        known = STEPS.get(type_name(step))
        given = {key: value for key, value in step.items() if key != "type"}
        if known:
            given = {key: given[key] for key in given.keys() - signature(known).parameters.keys()}
        if not known or any(given[key] != DEFAULTS.get(key) for key in given):
            raise UserError(
                [
                    f"the step {step} of the test pipeline cannot be part of the file; supported: "
                    f"{', '.join(STEPS)}, bilinear, with OpenCV. Export without resizing"
                ],
                "",
            )


def resize(x: Tensor, steps: list[dict[str, Any]]) -> Tensor:
    """Apply the steps to a batch, N×3×H×W with values from 0 to 255."""
    for step in steps:
        function = STEPS[type_name(step)]
        settings = {key: step[key] for key in signature(function).parameters if key in step}
        x = function(x, **settings)
    return x


def _interpolate(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, then rounded to whole numbers, up from one half, as in OpenCV."""
    resized = F.interpolate(x, (height, width), mode="bilinear")
    return (resized + 0.501).floor()  # a bit more than one half: a tie must not hang on rounding


def _resize(x: Tensor, scale: int | tuple[int, int], keep_ratio: bool = False) -> Tensor:
    scale = (scale, scale) if isinstance(scale, int) else scale  # width and height
    if not keep_ratio:
        return _interpolate(x, scale[1], scale[0])
    # MMCV multiplies with the smaller of two factors and rounds. In integers this has no
    # rounding errors, and the exporter keeps it symbolic.
    height, width = x.shape[2:]
    long, short = torch.sym_max(height, width), torch.sym_min(height, width)
    sides = (
        torch.sym_min(
            (2 * side * max(scale) + long) // (2 * long),
            (2 * side * min(scale) + short) // (2 * short),
        )
        for side in (height, width)
    )
    return _interpolate(x, *sides)


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
        rest = x.shape[dim] - size
        half = rest // 2
        x = x.narrow(dim, half + rest % 2 * (half % 2), size)  # Python rounds a half to even
    return x


STEPS: dict[str, Callable[..., Tensor]] = {
    "Resize": _resize,
    "ResizeEdge": _resize_edge,
    "CenterCrop": _center_crop,
}
