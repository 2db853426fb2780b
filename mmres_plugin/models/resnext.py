"""ResNeXt: Aggregated Residual Transformations for Deep Neural Networks (arXiv 1611.05431).

The 3×3 convolution of each bottleneck is grouped and wider. Arguments and state-dict keys are
those of MMPretrain's class; this one also takes SE, recursion, DCN and plugins, and builds each
convolution once.
"""

from ..registry import register_backbone
from .arguments import Depth, PerStage
from .resnet import ResNet


@register_backbone
class ResNeXt(ResNet):
    """ResNeXt, 32×4d by default.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`, from 50.
        groups: Groups of the 3×3 convolutions; 1 is the plain ResNet, as in MMPretrain.
        width_per_group: Channels of each group in stage 1, doubled from stage to stage. Ignored
            with one group.
        **kwargs: As in :class:`~mmres_plugin.models.resnet.ResNet`.
    """

    def __init__(
        self,
        depth: Depth = None,
        *,
        groups: PerStage = 32,
        width_per_group: PerStage | None = 4,
        **kwargs,
    ) -> None:
        if groups == 1 or (isinstance(groups, (tuple, list)) and set(groups) == {1}):
            width_per_group = None
        super().__init__(depth, groups=groups, width_per_group=width_per_group, **kwargs)
