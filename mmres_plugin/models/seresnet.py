"""SE-ResNet and SE-ResNeXt: Squeeze-and-Excitation Networks (arXiv 1709.01507).

A gate at the end of each branch, before the sum, rescales the channels by factors computed from
their means. Arguments and state-dict keys are those of MMPretrain's classes; here SE-ResNeXt takes
``se_ratio`` and ``drop_path_rate`` as well, and both take DCN, plugins and recursion.
"""

from ..registry import register_backbone
from .resnet import ResNet
from .resnext import ResNeXt


@register_backbone
class SEResNet(ResNet, se_ratio=16):
    """SE-ResNet. ``se_ratio`` is the channels of the branch per channel of the gate."""


@register_backbone
class SEResNeXt(ResNeXt, se_ratio=16):
    """SE-ResNeXt, 32×4d by default."""
