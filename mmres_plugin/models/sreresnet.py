"""SReResNet: a stage recursive residual network for suppressing semantic redundancy during feature
extraction (Lin, Shi, Xie and Chen, Engineering Applications of Artificial Intelligence, 2023).

Every stage runs twice: once as in ResNet, and once more without its down-sampling block. The
parameters are used twice and none is added, so the weights of any ResNet of the same depth and
style load unchanged. ``recursions`` says how often a stage is re-entered: 1 in the paper, 0 for the
plain network, or one number per stage.

The authors publish 50 and 101 layers. 18 and 34 are our extension: their code fails there, because
it re-enters a basic block of stage 2 with the wrong number of channels.

In training the batch norms of both passes see two batches per step, so their running statistics
move twice. That is the published behaviour.
"""

from ..registry import register_backbone
from .arguments import Depth, PerStage
from .resnet import ResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt


@register_backbone
class SReResNet(ResNet):
    """Stage recursive ResNet."""

    def __init__(self, depth: Depth = None, *, recursions: PerStage = 1, **kwargs) -> None:
        super().__init__(depth, recursions=recursions, **kwargs)


@register_backbone
class SReResNetV1d(SReResNet):
    """SReResNet with the stem and the down-sampling of ResNet-D (arXiv 1812.01187)."""

    def __init__(
        self, depth: Depth = None, *, deep_stem: bool = True, avg_down: bool = True, **kwargs
    ) -> None:
        super().__init__(depth, deep_stem=deep_stem, avg_down=avg_down, **kwargs)


@register_backbone
class SReResNeXt(SReResNet, ResNeXt):
    """Stage recursive ResNeXt, 32×4d by default."""


@register_backbone
class SReSEResNet(SReResNet, SEResNet):
    """Stage recursive SEResNet."""


@register_backbone
class SReSEResNeXt(SReResNet, SEResNeXt):
    """Stage recursive SEResNeXt, 32×4d by default."""
