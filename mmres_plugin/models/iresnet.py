"""IResNet: Improved Residual Networks for Image and Video Recognition (arXiv 2004.04989).

Three changes to ResNet:

- ``staged_blocks``: a stage is a start block, middle blocks and an end block, which differ in
  where norms and activations stand (:mod:`.block_order`), so that a signal on the shortcut meets no
  ReLU inside a stage (section 3.1). Alone it is the paper's ResStage.
- ``max_pool_shortcut``: a strided projection takes the stride in a 3×3 max-pool, and the stem has
  no pool; stage 1 strides instead (section 3.2).
- :class:`IResGroup` has wide grouped 3×3 convolutions between narrow stage outputs (section 3.3).

``zero_init_residual`` is off, as in the authors' code. If you switch it on, it affects only the
start blocks, because the branches of the others do not end with a norm.
"""

from ..registry import register_backbone
from .arguments import Depth
from .resnet import ResNet


@register_backbone
class IResNet(ResNet):
    """Improved ResNet."""

    def __init__(
        self,
        depth: Depth = None,
        *,
        staged_blocks: bool = True,
        max_pool_shortcut: bool = True,
        **kwargs,
    ) -> None:
        kwargs = {"zero_init_residual": False, **kwargs}
        super().__init__(
            depth, staged_blocks=staged_blocks, max_pool_shortcut=max_pool_shortcut, **kwargs
        )


@register_backbone
class IResGroup(IResNet):
    """IResNet with the grouped ResGroup block.

    The branch goes to 4 times ResNet's inner width and back to half of that, so the stages put
    out 128, 256, 512 and 1024 channels.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`, from 50.
        fixed_groups: 64 groups in every stage (IResGroupFix). Otherwise the groups double from
            stage to stage, 8, 16, 32, 64, and each has 32 channels.
        **kwargs: As in ResNet. ``staged_blocks=False, max_pool_shortcut=False`` is the paper's
            ResGroup.
    """

    def __init__(
        self, depth: Depth = None, *, expansion: int = 2, fixed_groups: bool = False, **kwargs
    ) -> None:
        if fixed_groups:
            groups = {"groups": 64, "width_per_group": 4}
        else:
            num_stages = kwargs.get("num_stages", 4)
            groups = {"groups": (8, 16, 32, 64)[:num_stages], "width_per_group": (32,) * num_stages}
        super().__init__(depth, expansion=expansion, **{**groups, **kwargs})
