"""Shortcuts of a residual block.

:func:`projection` makes the shortcut of a block that changes the shape of its input: ResNet's
strided 1×1 convolution, ResNet-D's average pool before it (arXiv 1812.01187, section 4.1), or
IResNet's max-pool before it (arXiv 2004.04989, section 3.2).

:class:`EncoderDecoder` wraps any shortcut (A Lightweight Encoder-Decoder Path for Deep Residual
Networks, TNNLS, section III). It is a function of the projected shortcut alone, so it fits where
ResNet keeps its projection, and no block needs to know of it.
"""

import math

import torch
import torch.fx
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn


def projection(
    in_channels: int,
    out_channels: int,
    stride: int,
    pool: str | None = None,
    conv_cfg: dict | None = None,
    norm_cfg: dict = {"type": "BN"},
) -> nn.Module | None:
    """The shortcut of a block with these channels and stride, or None for the identity.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the block.
        pool: What takes the stride: None the 1×1 convolution itself, ``'avg'`` an average pool of
            the stride's size, ``'max'`` a 3×3 max-pool. The max-pool alone is the shortcut of a
            block that strides and keeps its channels.
        conv_cfg: MMCV config of the convolution.
        norm_cfg: MMCV config of the norm after it.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    layers: list[nn.Module] = []
    conv_stride = stride
    if pool is not None and stride != 1:
        conv_stride = 1
        if pool == "max":
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        else:
            layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
    if pool != "max" or in_channels != out_channels:
        layers += [
            build_conv_layer(
                conv_cfg, in_channels, out_channels, 1, stride=conv_stride, bias=False
            ),
            build_norm_layer(norm_cfg, out_channels)[1],
        ]
    return Projection(*layers)


class Projection(nn.Sequential):
    """The layers of a projection: a pool, or a convolution and its norm, or all three."""

    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """Names of the convolution and of the norm that follows it, for folding."""
        names = [name for name, _ in self.named_children()]
        return [(names[-2], names[-1])] if len(names) > 1 else []


@torch.fx.wrap
def crop_to(x: Tensor, like: Tensor) -> Tensor:
    """The rows and columns of x that ``like`` has, both N×C×H×W.

    A graph for all sizes always crops. Otherwise x is returned as it is where it fits, since a crop
    costs two passes over the gradient. For ``torch.fx`` this is one node, whatever the sizes.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or x.shape != like.shape:  # pyright: ignore[reportPrivateImportUsage]
        return x[..., : like.shape[-2], : like.shape[-1]]
    return x


class EncoderDecoder(BaseModule):
    """``p + decoder(encoder(p))``, p the projected shortcut.

    Encoder: grouped 3×3 convolution of stride 2, norm, activation. Decoder: grouped 3×3
    transposed convolution of stride 2 back to the size of p, norm.

    The authors fix the decoder's output padding by stage, which is right for 224×224 images only;
    here the size is taken from p. They compute p twice; here it is computed once.

    Args:
        shortcut: Makes p; None where p is the input of the block.
        channels: Channels of p.
        ratio: Channels of the code between encoder and decoder, as a share of ``channels``: 1/4
            in EDResNet, 1/2 in EDResNeXt.
        groups: Groups of both convolutions.
        conv_cfg: MMCV config of the encoder's convolution.
        norm_cfg: MMCV config of the norms.

    Raises:
        ValueError: If the channels of p or of the code cannot be split into ``groups``.
    """

    def __init__(
        self,
        shortcut: nn.Module | None,
        channels: int,
        ratio: float = 1 / 4,
        groups: int = 32,
        conv_cfg: dict | None = None,
        norm_cfg: dict = {"type": "BN"},
    ) -> None:
        super().__init__()
        code = int(channels * ratio)
        divisor = math.gcd(channels, code)
        if code < 1 or groups < 1 or divisor % groups:
            raise ValueError(
                f"encoder_decoder: groups must divide {divisor}, the greatest common divisor of "
                f"{channels} channels and a code of {code} (ratio={ratio}), got groups={groups}"
            )
        self.projection = nn.Identity() if shortcut is None else shortcut
        self.encoder = nn.Sequential(
            build_conv_layer(
                conv_cfg, channels, code, 3, stride=2, padding=1, groups=groups, bias=False
            ),
            build_norm_layer(norm_cfg, code)[1],
            nn.ReLU(inplace=True),
        )
        self.decoder_conv = nn.ConvTranspose2d(
            code, channels, 3, stride=2, padding=1, output_padding=1, groups=groups, bias=False
        )
        self.decoder_norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W of the block's input to N×channels×H'×W' of its output."""
        p = self.projection(x)
        return p + self.encode_decode(p)

    def encode_decode(self, p: Tensor) -> Tensor:
        """``decoder(encoder(p))``, of the shape of p."""
        # With output padding 1 the decoder fills an even size. Where p is odd, its last row and
        # column are cropped, which is what output padding 0 computes.
        return self.decoder_norm(crop_to(self.decoder_conv(self.encoder(p)), p))  # pyright: ignore[reportCallIssue]

    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """Names of both convolutions and of the norms that follow them, for folding."""
        return [("encoder.0", "encoder.1"), ("decoder_conv", "decoder_norm")]
