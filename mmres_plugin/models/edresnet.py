"""EDResNet: A Lightweight Encoder-Decoder Path for Deep Residual Networks (TNNLS).

Next to branch and shortcut every block has a third path, which squeezes the projected shortcut to
half its size and back: ``branch(x) + p + decoder(encoder(p))``. The path is part of the shortcut
(:class:`~mmres_plugin.models.shortcut.EncoderDecoder`); ResNet, ResNeXt and their SE versions
are otherwise unchanged. ``encoder_decoder=None`` switches the path off.

The lightweight models shrink the branch to pay for the path. ResNets scale its inner width:
``width_per_group=62`` (31/32) has the cost of the plain network (-A), ``width_per_group=36``
(9/16) about half of it (-B). ResNeXts keep the width of a group and drop groups: ``groups=30``
(-A) and ``groups=19`` (-B). The authors' code has no lightweight model; these numbers are fitted
to the costs that the paper publishes.

The stages of 18 and 34 layers are too narrow for 32 groups: ``encoder_decoder=dict(groups=16)``.

``zero_init_residual`` is off, as in the authors' code: with the path, a block whose branch is zero
is no identity.
"""

from ..registry import register_backbone
from .arguments import Depth
from .resnet import ResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt


@register_backbone
class EDResNet(ResNet):
    """ResNet with the encoder-decoder path."""

    def __init__(self, depth: Depth = None, *, encoder_decoder: dict | None = {}, **kwargs) -> None:
        kwargs = {"zero_init_residual": False, **kwargs}
        super().__init__(depth, encoder_decoder=encoder_decoder, **kwargs)


@register_backbone
class EDResNeXt(EDResNet, ResNeXt):
    """ResNeXt with the path, 32×4d by default."""


@register_backbone
class EDSEResNet(EDResNet, SEResNet):
    """SEResNet with the path."""


@register_backbone
class EDSEResNeXt(EDResNet, SEResNeXt):
    """SEResNeXt with the path, 32×4d by default."""
