"""SE-ResNet and SE-ResNeXt: Squeeze-and-Excitation Networks (arXiv 1709.01507).

A gate at the end of each branch, before the sum, rescales its channels by what it sees in their
means. Arguments and state-dict keys are those of MMPretrain's classes; here ``se_ratio`` reaches
SE-ResNeXt, ``drop_path_rate`` drops, and DCN, plugins and recursion are to be had.
"""

from collections.abc import Sequence

from ..registry import register_backbone
from .resnet import ResNet
from .resnext import ResNeXt


class SqueezeExcitation:
    """Puts an SE layer on every branch of the network it is mixed into.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`.
        se_ratio: Channels of the branch per channel of the gate's hidden layer.
        **kwargs: As in the network it is mixed into.
    """

    def __init__(self, depth: int | Sequence[int], se_ratio: int = 16, **kwargs) -> None:
        super().__init__(depth, se_ratio=se_ratio, **kwargs)


@register_backbone
class SEResNet(SqueezeExcitation, ResNet):
    """SE-ResNet; arguments of :class:`SqueezeExcitation` and ResNet."""


@register_backbone
class SEResNeXt(SqueezeExcitation, ResNeXt):
    """SE-ResNeXt, 32×4d by default; arguments of :class:`SqueezeExcitation` and ResNeXt."""
