"""One convolution in the branch of a block, as a row of the block's table."""

from typing import NamedTuple

from mmcv.cnn import build_conv_layer
from torch import nn


class Conv(NamedTuple):
    """A convolution that keeps the size at stride 1; ``deformable`` is the one DCN replaces."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    deformable: bool = False

    def build(self, conv_cfg: dict | None, dcn: dict | None, block_stride: int) -> nn.Module:
        """The layer, without a bias.

        Args:
            conv_cfg: MMCV config of convolutions; None is ``nn.Conv2d``.
            dcn: MMCV config of deformable ones, or None. With ``fallback_on_stride`` in it, a
                block that strides keeps ``conv_cfg``.
            block_stride: Stride of the block.
        """
        if dcn is not None and self.deformable:
            dcn = dict(dcn)  # the config stays as it was passed
            fallback = dcn.pop("fallback_on_stride", False)
            conv_cfg = conv_cfg if fallback and block_stride > 1 else dcn
        return build_conv_layer(
            conv_cfg,
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.dilation * (self.kernel_size // 2),
            dilation=self.dilation,
            groups=self.groups,
            bias=False,
        )
