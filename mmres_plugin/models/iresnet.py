"""IResNet: Improved Residual Networks for Image and Video Recognition (arXiv 2004.04989).

Three changes to ResNet, each an argument here:

- a stage is a start block, middle blocks and an end block, which differ in where norms and
  activations stand, so that a signal on the shortcut meets no ReLU inside a stage (section 3.1);
- a strided projection takes the stride in a 3×3 max-pool, and the stem has no pool: stage 1
  strides instead (section 3.2);
- :class:`IResGroup` has wide grouped 3×3 convolutions between narrow stage outputs (section 3.3).
"""

from collections.abc import Sequence

from torch import nn

from ..registry import register_backbone
from .block import RESNET_ORDER, NormOrder
from .resnet import ResNet

# The start block is ResNet's. In the paper's figure it has no activation after the sum, and the
# branch of the second block starts with one. In the authors' code that one works in place, so the
# shortcut of the second block sees it too; their weights are trained so. A ReLU at the end of the
# start block is the same function.
SECOND = NormOrder(last_norm=False, after=())  # its input is normalised and rectified already
MIDDLE = NormOrder(pre_norm=True, last_norm=False, after=())


@register_backbone
class IResNet(ResNet):
    """Improved ResNet.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`.
        staged_blocks: Start, middle and end blocks; off, all blocks are ResNet's.
        max_pool_shortcut: Max-pool projections and no pool in the stem; off, ResNet's shortcuts
            and stem. With ``staged_blocks`` alone the network is the paper's ResStage.
        strides: Stride of each stage. None is 2 for all, or ResNet's without
            ``max_pool_shortcut``.
        zero_init_residual: Off, as in the authors' code. If on, it holds for start blocks: the
            branches of the others have no last norm.
        **kwargs: As in :class:`~mmres_plugin.models.resnet.ResNet`.

    Raises:
        ValueError: For ``avg_down`` with ``max_pool_shortcut``, and as ResNet does.
    """

    def __init__(
        self,
        depth: int | Sequence[int],
        staged_blocks: bool = True,
        max_pool_shortcut: bool = True,
        strides: int | Sequence[int] | None = None,
        zero_init_residual: bool = False,
        **kwargs,
    ) -> None:
        self.staged_blocks = staged_blocks
        self.max_pool_shortcut = max_pool_shortcut
        if max_pool_shortcut and strides is None:
            strides = 2
        if max_pool_shortcut and kwargs.get("avg_down"):
            raise ValueError("avg_down=True needs max_pool_shortcut=False: a shortcut has one pool")
        super().__init__(depth, strides=strides, zero_init_residual=zero_init_residual, **kwargs)

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        super()._make_stem_layer(in_channels, stem_channels)
        if self.max_pool_shortcut:
            self.maxpool = nn.Identity()

    @property
    def shortcut_pool(self) -> str | None:
        return "max" if self.max_pool_shortcut else super().shortcut_pool

    def block_args(self, stage: int, index: int) -> dict:
        order = self.norm_order(index, self.stage_blocks[stage])
        return {**super().block_args(stage, index), "norm_order": order}

    def norm_order(self, index: int, num_blocks: int) -> NormOrder:
        """Where norms and activations stand in block ``index`` of a stage of ``num_blocks``."""
        if not self.staged_blocks:
            return RESNET_ORDER
        order = RESNET_ORDER if index == 0 else SECOND if index == 1 else MIDDLE
        if index == num_blocks - 1:
            order = order._replace(after=("norm", "act"))
        return order


@register_backbone
class IResGroup(IResNet):
    """IResNet with the grouped ResGroup block.

    The branch goes to 4 times ResNet's inner width and back to half of that, so the stages put
    out 128, 256, 512 and 1024 channels.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`, from 50.
        fixed_groups: iResGroupFix, 64 groups in every stage; else the groups double from stage
            to stage, 8, 16, 32, 64, and their width is always 32.
        **kwargs: As in :class:`IResNet`. ``staged_blocks=False, max_pool_shortcut=False`` is the
            paper's ResGroup.
    """

    def __init__(self, depth: int | Sequence[int], fixed_groups: bool = False, **kwargs) -> None:
        self.fixed_groups = fixed_groups
        super().__init__(depth, groups=64, width_per_group=4, expansion=2, **kwargs)

    def block_args(self, stage: int, index: int) -> dict:
        args = super().block_args(stage, index)
        if not self.fixed_groups:
            args["groups"] = self.groups >> (3 - stage)
        return args
