"""Images as a camera or a decoder gives them, turned into what the network sees, in the graph."""

from typing import Any

import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..config_parts import innermost, type_name
from ..errors import UserError


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
    # MMEngine keeps its bgr_to_rgb in this attribute alone.
    return bool(getattr(preprocessor, "_channel_conversion", False) if to_rgb is None else to_rgb)


def sizing_steps(cfg: Config) -> list[dict[str, Any]]:
    """The steps of the test pipeline between loading and packing: whoever runs the file does them.

    Raises:
        UserError: If one of them does what the file does, or what no image shows.
    """
    dataset = innermost(cfg.get("test_dataloader") or cfg.get("val_dataloader"))
    steps = [dict(step) for step in dataset.get("pipeline", [])]
    steps = [step for step in steps if not type_name(step).startswith(("Load", "Pack"))]
    for step in steps:
        if type_name(step) in ("Normalize", "Pad"):
            said = "which the exported file does itself: move it to data_preprocessor (mean, std, "
            said += "pad_size_divisor) and check the accuracy with `mmres test`"
            raise UserError(f"the test pipeline has the step {type_name(step)}, {said}")
        step["type"] = type_name(step)  # a class cannot be written into the file
    return steps
