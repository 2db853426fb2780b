"""Which images do the weights of a file expect?

Weights of Caffe's ResNets were trained on BGR images without division, those of PyTorch's on
normalised RGB images, and their bottlenecks stride in different convolutions. Both kinds have the
same names and shapes, so either loads into a network for the other and computes something else.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import nn


class ImageSettings(NamedTuple):
    """What a network was trained with.

    Attributes:
        origin: Whose weights these are.
        style: Which convolution of a bottleneck strides, ``'pytorch'`` or ``'caffe'``.
        divides: Whether pixels are divided by a standard deviation.
        is_known: Whether an address or our converter says so; a guess by names otherwise.
    """

    origin: str
    style: str
    divides: bool
    is_known: bool = True

    @property
    def described(self) -> str:
        """For a message: whose weights these are."""
        return f"these {'are' if self.is_known else 'look like'} weights of {self.origin}"


PYTORCH = ImageSettings("torchvision or timm", "pytorch", True)
CAFFE = ImageSettings("Caffe (MSRA) or Detectron2", "caffe", False)


def expected_settings(
    names: Iterable[str], address: str, meta: Mapping[str, Any] | None = None
) -> ImageSettings | None:
    """What the weights in a file expect, or None where the file does not say.

    Args:
        names: Names of its tensors.
        address: Its path or address.
        meta: Its meta data. Our converter notes the images; a training run does not.
    """
    if meta:
        return {kind.origin: kind for kind in (PYTORCH, CAFFE)}.get(str(meta.get("images")))
    if "caffe" in address:
        return CAFFE._replace(is_known="://" in address)
    if address.startswith("torchvision://"):
        return PYTORCH
    names = set(names)
    if {"conv1.weight", "layer1.0.conv1.weight"} <= names:
        # Caffe's weights come without classifier and counters of batches, but others' may too.
        kind = PYTORCH if {"bn1.num_batches_tracked", "fc.weight"} & names else CAFFE
        return kind._replace(is_known=False)
    return None


def style_problem(settings: ImageSettings | None, backbone: nn.Module) -> str | None:
    """Why ``backbone`` computes something else with these weights, or None."""
    style = getattr(backbone, "style", None)
    bottleneck = any(name.startswith("layer1.0.conv3") for name in backbone.state_dict())
    if settings is None or style in (None, settings.style) or not bottleneck:
        return None
    condition = "" if settings.is_known else "if they are, "
    return (
        f"{settings.described}, whose bottlenecks stride in another convolution: "
        f"{condition}set style='{settings.style}' in the backbone"
    )


def preprocessor_problem(
    settings: ImageSettings | None, preprocessor: Mapping[str, Any]
) -> str | None:
    """Why images prepared like this do not suit these weights, or None.

    Args:
        settings: What the weights expect.
        preprocessor: The config of the model's data preprocessor.
    """
    std = preprocessor.get("std")
    if settings is None or std is None:
        return None
    divides = max(std) > 1
    to_rgb = bool(preprocessor.get("bgr_to_rgb", preprocessor.get("to_rgb", False)))
    if divides == settings.divides and to_rgb == settings.divides:
        return None
    fitting = (
        "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375] and RGB (bgr_to_rgb=True)"
        if settings.divides
        else "mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0] and BGR (bgr_to_rgb=False)"
    )
    return f"{settings.described}: set {fitting} in the data_preprocessor"
