"""SEResNet and SEResNeXt: Squeeze-and-Excitation Networks (arXiv 1709.01507).

A gate at the end of each branch, before the sum, rescales the channels by factors computed from
their means. Arguments and state-dict keys are those of MMPretrain's classes; here SEResNeXt takes
``se_ratio`` and ``drop_path_rate`` as well, and both take DCN, plugins and recursion.
"""

from collections.abc import Sequence

from ..registry import register_backbone
from .arguments import Depth
from .resnet import ResNet
from .resnext import ResNeXt


@register_backbone
class SEResNet(ResNet):
    """ResNet with SE. ``se_ratio`` is the channels of the branch per channel of the gate."""

    def __init__(
        self, depth: Depth = None, *, se_ratio: int | Sequence[int | None] | None = 16, **kwargs
    ) -> None:
        super().__init__(depth, se_ratio=se_ratio, **kwargs)


@register_backbone
class SEResNeXt(SEResNet, ResNeXt):
    """ResNeXt with SE, 32×4d by default."""
