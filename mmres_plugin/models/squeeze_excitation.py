"""The gate of Squeeze-and-Excitation Networks (arXiv 1709.01507, section 3)."""

from collections import OrderedDict

import torch.nn.functional as F
from mmpretrain.models.utils import make_divisible
from torch import Tensor, nn


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
