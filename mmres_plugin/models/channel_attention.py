"""Channel attention: SE, and layers for the ``plugins`` of a block.

``plugins=[dict(cfg=dict(type="mmres_plugin.ECA"), position="after_conv3")]`` puts one at the end of
a bottleneck's branch, here as in MMDetection's ResNet. State-dict keys are those of timm's
``EcaModule`` and ``CbamModule``, so their weights load. The names are in the plugin's registry
alone, since many projects have a class of such a name.
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmpretrain.models.utils import make_divisible
from torch import Tensor, nn

from ..registry import MODELS
from .arguments import require


class SELayer(nn.Module):
    """Rescales channels by factors computed from their means; state-dict keys as in MMPretrain.

    MMPretrain's is made of MMCV's ConvModule, which draws the weights of a convolution twice: a
    network of 50 layers then takes a tenth longer to build.

    Args:
        channels: Channels of the input and of the output.
        ratio: Channels of the input per channel of the hidden layer, which are rounded to a
            multiple of 8.
    """

    def __init__(self, channels: int, ratio: int = 16) -> None:
        super().__init__()
        hidden = make_divisible(channels // ratio, 8)
        squeeze, excite = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.conv1 = nn.Sequential(OrderedDict(conv=squeeze, activate=nn.ReLU(inplace=True)))
        self.conv2 = nn.Sequential(OrderedDict(conv=excite, activate=nn.Sigmoid()))

    def forward(self, x: Tensor) -> Tensor:
        """N×channels×H×W to the same shape."""
        return x * self.conv2(self.conv1(F.adaptive_avg_pool2d(x, 1)))


@MODELS.register_module(force=True)  # a module may be reloaded
class ECA(nn.Module):
    """Efficient channel attention (arXiv 1910.03151): each channel is gated by its neighbours.

    The gate is a convolution along the channel means.

    Args:
        in_channels: Channels of the input and of the output.
        kernel_size: How many channels a gate sees, an odd number. None is the paper's rule:
            log2(in_channels) / 2 + 1 / 2, rounded to an odd number from 3.

    Raises:
        ValueError: If ``kernel_size`` is not odd.
    """

    def __init__(self, in_channels: int, kernel_size: int | None = None) -> None:
        super().__init__()
        if kernel_size is None:
            kernel_size = max(int((math.log2(in_channels) + 1) / 2) | 1, 3)
        fits = isinstance(kernel_size, int) and kernel_size % 2 == 1
        require("kernel_size", kernel_size, fits, "an odd number")
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N×in_channels×H×W to the same shape."""
        means = x.mean((2, 3)).unsqueeze(1)  # N×1×C
        return x * self.conv(means).sigmoid().transpose(1, 2).unsqueeze(3)


@MODELS.register_module(force=True)
class CBAM(nn.Module):
    """Convolutional block attention (arXiv 1807.06521): channels are gated, then positions.

    Args:
        in_channels: Channels of the input and of the output.
        ratio: Channels of the input per channel of the hidden layer.
        kernel_size: Of the convolution that gates positions, an odd number.
        norm_cfg: MMCV config of the norm after it.

    Raises:
        ValueError: If ``kernel_size`` is not odd.
    """

    def __init__(
        self,
        in_channels: int,
        ratio: float = 16,
        kernel_size: int = 7,
        norm_cfg: dict = {"type": "BN"},
    ) -> None:
        super().__init__()
        fits = isinstance(kernel_size, int) and kernel_size % 2 == 1
        require("kernel_size", kernel_size, fits, "an odd number")
        hidden = max(int(in_channels / ratio + 0.5), 1)
        squeeze = nn.Conv2d(in_channels, hidden, 1, bias=False)
        excite = nn.Conv2d(hidden, in_channels, 1, bias=False)
        self.channel = nn.Sequential(OrderedDict(fc1=squeeze, act=nn.ReLU(), fc2=excite))
        conv = ConvModule(
            2, 1, kernel_size, padding=kernel_size // 2, norm_cfg=norm_cfg, act_cfg=None
        )
        self.spatial = nn.Sequential(OrderedDict(conv=conv))

    def forward(self, x: Tensor) -> Tensor:
        """N×in_channels×H×W to the same shape."""
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * (self.channel(mean) + self.channel(largest)).sigmoid()
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.spatial(maps).sigmoid()
