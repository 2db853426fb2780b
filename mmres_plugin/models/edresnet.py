"""ED-Net: A Lightweight Encoder-Decoder Path for Deep Residual Networks (TNNLS).

Beside branch and shortcut every block has a third path, which squeezes the projected shortcut to
half its size and back: ``branch(x) + p + decoder(encoder(p))``. The path is part of the shortcut
(:class:`~mmres_plugin.models.shortcut.EncoderDecoder`); ResNet, ResNeXt and their SE versions
differ from their plain forms in nothing else.

The lightweight models take from the branch what the path costs. ResNets scale its inner width:
``width_per_group=62`` (31/32) has the cost of the plain network (-A), ``width_per_group=36``
(9/16) about half of it (-B). ResNeXts keep the width of a group and drop groups: ``groups=30``
(-A) and ``groups=19`` (-B). The authors' code has no lightweight model; these numbers are fitted
to the costs that the paper publishes.
"""

from collections.abc import Sequence
from typing import ClassVar

from ..registry import register_backbone
from .resnet import ResNet
from .resnext import ResNeXt
from .seresnet import SEResNet, SEResNeXt


class EncoderDecoderPath:
    """Puts an encoder-decoder on every shortcut of the network it is mixed into.

    Args:
        depth: As in :class:`~mmres_plugin.models.resnet.ResNet`. Published from 50; the stages
            of 18 and 34 are too narrow for 32 groups and want ``encoder_decoder=dict(groups=16)``.
        encoder_decoder: ``ratio`` or ``groups``, or both, of
            :class:`~mmres_plugin.models.shortcut.EncoderDecoder`. By default the code has as many
            channels as the inner width of the plain network: 1/4 of the block's in ResNets, 1/2
            in ResNeXts.
        zero_init_residual: Off, as in the authors' code: with the path, a block whose branch is
            zero is no identity.
        **kwargs: As in the network it is mixed into.
    """

    path: ClassVar[dict]

    def __init__(
        self,
        depth: int | Sequence[int],
        encoder_decoder: dict | None = None,
        zero_init_residual: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(
            depth,
            encoder_decoder={**self.path, **(encoder_decoder or {})},
            zero_init_residual=zero_init_residual,
            **kwargs,
        )


@register_backbone
class EDResNet(EncoderDecoderPath, ResNet):
    """ED-ResNet; arguments of :class:`EncoderDecoderPath` and ResNet."""

    path = {"ratio": 1 / 4}


@register_backbone
class EDResNeXt(EncoderDecoderPath, ResNeXt):
    """ED-ResNeXt, 32×4d by default; arguments of :class:`EncoderDecoderPath` and ResNeXt."""

    path = {"ratio": 1 / 2}


@register_backbone
class EDSEResNet(EncoderDecoderPath, SEResNet):
    """ED-SE-ResNet; arguments of :class:`EncoderDecoderPath` and SEResNet."""

    path = {"ratio": 1 / 4}


@register_backbone
class EDSEResNeXt(EncoderDecoderPath, SEResNeXt):
    """ED-SE-ResNeXt, 32×4d by default; arguments of :class:`EncoderDecoderPath` and SEResNeXt."""

    path = {"ratio": 1 / 2}
