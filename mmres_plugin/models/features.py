"""What a backbone returns: channels and stride of each feature map, before and after building.

``feature_info("SReResNet", depth=18, out_indices=(0, 1, 2, 3))`` needs no memory and no weights; a
backbone that is built has the same as its property ``feature_info``.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from ..errors import did_you_mean
from ..registry import BACKBONES


class Feature(NamedTuple):
    """One of the feature maps that a backbone returns.

    Attributes:
        name: The stage that it comes from, ``'layer1'`` to ``'layer4'``.
        channels: Its channels.
        stride: Pixels of the image per pixel of the map, in height as in width.
    """

    name: str
    channels: int
    stride: int


class FeatureInfo(nn.Module):
    """Properties that describe the outputs of a network with stages."""

    res_layers: list[str]
    out_indices: Sequence[int]

    @property
    def feature_info(self) -> tuple[Feature, ...]:
        """The feature maps of the stages in ``out_indices``, in the order of the outputs."""
        stem = (child for name, child in self.named_children() if name not in self.res_layers)
        layers = (layer for child in stem for layer in child.modules())
        stride = math.prod(
            layer.stride[0] if isinstance(layer.stride, tuple) else layer.stride
            for layer in layers
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d)
        )
        features = []
        for name in self.res_layers:
            stage = getattr(self, name)
            stride *= math.prod(block.stride for block in stage)
            features.append(Feature(name, stage[-1].out_channels, stride))
        return tuple(f for index, f in enumerate(features) if index in self.out_indices)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """The channels of each output: what ``in_channels`` of a neck must be."""
        return tuple(feature.channels for feature in self.feature_info)

    @property
    def out_strides(self) -> tuple[int, ...]:
        """The stride of each output. (``strides`` is the argument: the stride of each stage.)"""
        return tuple(feature.stride for feature in self.feature_info)


def feature_info(type: str | type, **arguments: Any) -> tuple[Feature, ...]:
    """What a backbone of the plugin will return; nothing is allocated.

    Args:
        type: Its class or registered name, with or without the scope. So
            ``feature_info(**cfg.model.backbone)`` works as well.
        **arguments: Those of the class. ``out_indices`` chooses the stages, by default the last.

    Returns:
        One :class:`Feature` per output: ``[Feature('layer4', 2048, 32)]``.

    Raises:
        TypeError, ValueError: For arguments that the class does not take.
        ValueError: If the plugin has no such backbone.
    """
    from ..weights.fit import OnMeta  # not at the top: see ResNet.init_weights

    name = type.removeprefix("mmres_plugin.") if isinstance(type, str) else type.__name__
    if name not in BACKBONES:
        known = sorted(BACKBONES)
        raise ValueError(
            f"type must be a backbone of the plugin, got {type!r}.{did_you_mean(name, known)} "
            f"There are {', '.join(known)}"
        )
    arguments.pop("_delete_", None)  # a word of config files
    with OnMeta():
        return BACKBONES[name](**arguments).feature_info
