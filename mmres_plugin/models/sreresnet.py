"""SReResNet: Stage Recursive Residual Network (Engineering Applications of AI).

Every stage is gone through twice: once as in ResNet, and once more without its down-sampling
block. The parameters are used twice and none is added, so the weights of any ResNet of the same
depth and style load unchanged.

In training the batch norms that are shared by both passes see two batches a step, so their running
statistics move twice a step. That is the published behaviour.
"""

from collections.abc import Sequence

from ..registry import register_backbone
from .resnet import ResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt


class StageRecursion:
    """Re-enters every stage of the network it is mixed into.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`.
        recursions: How often each stage is re-entered: one number, or one a stage. 1 in the
            paper; 0 is the plain network.
        **kwargs: As in the network it is mixed into.
    """

    def __init__(
        self, depth: int | Sequence[int], recursions: int | Sequence[int] = 1, **kwargs
    ) -> None:
        super().__init__(depth, recursions=recursions, **kwargs)


@register_backbone
class SReResNet(StageRecursion, ResNet):
    """Stage recursive ResNet; arguments of :class:`StageRecursion` and ResNet."""


@register_backbone
class SReResNetV1d(SReResNet):
    """SReResNet with the stem and the down-sampling of ResNet-D (arXiv 1812.01187)."""

    def __init__(self, depth: int | Sequence[int], **kwargs) -> None:
        super().__init__(depth, deep_stem=True, avg_down=True, **kwargs)


@register_backbone
class SReResNeXt(StageRecursion, ResNeXt):
    """Stage recursive ResNeXt; arguments of :class:`StageRecursion` and ResNeXt."""


@register_backbone
class SReSEResNet(StageRecursion, SEResNet):
    """Stage recursive SE-ResNet; arguments of :class:`StageRecursion` and SEResNet."""


@register_backbone
class SReSEResNeXt(StageRecursion, SEResNeXt):
    """Stage recursive SE-ResNeXt; arguments of :class:`StageRecursion` and SEResNeXt."""
