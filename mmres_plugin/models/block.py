"""The residual block: ``after(branch(x) + shortcut(x))``.

What the papers vary is a table entry or a replaceable part, so one block with one ``forward``
serves them all:

- the order of its layers is a row of a table, of which ResNet has one and IResNet several
  (:mod:`.block_order`);
- the convolutions of the branch are a table as well, of two rows in a basic block and three in a
  bottleneck (:class:`Conv`); ResNeXt groups one of them, DCN replaces it;
- the shortcut is any module (a projection, an encoder-decoder), or None for the identity;
- SE and plugins are slots of the branch.

State-dict keys are ResNet's: ``conv1``, ``bn1`` …, ``downsample``, ``se_layer``.
"""

from typing import ClassVar, NamedTuple

import torch
import torch.fx
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.model.weight_init import constant_init
from torch import Tensor, nn

from .activation_checkpointing import checkpoint_activations
from .block_order import ORDERS
from .channel_attention import SELayer
from .plugins import build_plugin, check_plugins


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


class ResidualBlock(BaseModule):
    """A branch of convolutions plus a shortcut; subclasses only give the table of convolutions.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        mid_channels: Channels inside the branch.
        stride: Stride of the block.
        dilation: Dilation of its spatial convolution.
        groups: Groups of that convolution.
        style: ``'pytorch'`` strides in the 3×3 convolution of a bottleneck, ``'caffe'`` in the
            first 1×1. A basic block ignores it.
        order: A key of :data:`~mmres_plugin.models.block_order.ORDERS`.
        downsample: The shortcut; None is the identity.
        se_ratio: Squeeze ratio of an SE layer at the end of the branch; None for no SE.
        drop_path_rate: Probability of dropping the branch in training.
        with_cp: Recompute the block's activations in backward instead of keeping them.
        conv_cfg: MMCV config of the convolutions; None is ``nn.Conv2d``.
        norm_cfg: MMCV config of the norms.
        dcn: MMCV config of a deformable convolution in place of the 3×3, as in MMDetection.
            With ``fallback_on_stride=True`` every block that strides keeps its plain convolution
            (MMDetection applies it to the first block of the network alone).
        plugins: ``dict(cfg=…, position='after_convK')``, built by MMCV, as in MMDetection.

    Raises:
        ValueError: For ``groups`` or ``dcn`` on a block that has no place for them, for groups
            that do not divide ``mid_channels``, and for a plugin without a ``cfg`` or at a
            position that does not exist.
    """

    expansion: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        style: str = "pytorch",
        order: str = "resnet",
        downsample: nn.Module | None = None,
        se_ratio: int | None = None,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict = {"type": "BN"},
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        self.with_cp = with_cp

        convs = self.convs(mid_channels, dilation, groups, style)
        if dcn is not None and not any(conv.deformable for conv in convs):
            raise ValueError("dcn needs a bottleneck block: use a depth of 50 or more, or dcn=None")
        check_plugins(plugins, len(convs))
        branch, _, after = ORDERS[order].partition("+")
        branch = branch.replace("...", "conv norm relu " * (len(convs) - 2))
        before, *following = branch.split("conv")  # `following`: what comes after each one

        self.before = norms_and_relus(before, norm_cfg, in_channels)
        self.layers: list[str] = []  # the rest of the branch, in the order in which it runs
        self.norm_of: dict[str, str] = {}  # the norm after a convolution, if there is one
        self.last_conv = f"conv{len(convs)}"
        for i, (conv, kinds) in enumerate(zip(convs, following, strict=True), 1):
            self._append(f"conv{i}", conv.build(conv_cfg, dcn, stride))
            if "norm" in kinds:
                self._append(*build_norm_layer(norm_cfg, conv.out_channels, postfix=i))
                self.norm_of[f"conv{i}"] = self.layers[-1]
            if "relu" in kinds:
                self.layers.append("relu")
            elif se_ratio is not None:  # only the last convolution has no ReLU after it
                self.layers.append("se_layer")
            for plugin in plugins or ():
                if plugin["position"] == f"after_conv{i}":
                    self._append(*build_plugin(plugin["cfg"], conv.out_channels))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.se_layer = None if se_ratio is None else SELayer(out_channels, se_ratio)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.after = norms_and_relus(after, norm_cfg, out_channels)

    def convs(self, mid: int, dilation: int, groups: int, style: str) -> list[Conv]:
        """The convolutions of the branch, in order."""
        raise NotImplementedError

    def _append(self, name: str, layer: nn.Module) -> None:
        if hasattr(self, name):
            raise ValueError(f"a block has two layers named {name!r}: give its plugins a postfix")
        self.add_module(name, layer)
        self.layers.append(name)

    @property
    def changes_shape(self) -> bool:
        """Whether the output differs from the input in size or channels."""
        return self.stride != 1 or self.in_channels != self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """N×in_channels×H×W to N×out_channels×⌈H/stride⌉×⌈W/stride⌉."""
        if self.with_cp and torch.is_grad_enabled() and not torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            return checkpoint_activations(self, self._forward, x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        out = self.drop_path(self.branch(x))
        out += x if self.downsample is None else self.downsample(x)
        return out if self.after is None else self.after(out)

    def branch(self, x: Tensor) -> Tensor:
        """The residual branch, up to the sum."""
        if self.before is not None:
            x = self.before(x)
        for name in self.layers:
            x = getattr(self, name)(x)
        return x

    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """Names of the convolutions and of the norms that directly follow them, for folding."""
        return list(self.norm_of.items())

    def zero_init_last_norm(self) -> None:
        """Zero the scale of the norm before the sum, where there is one.

        The block then starts as its shortcut alone (arXiv 1706.02677, section 5.1).
        """
        if self.last_conv in self.norm_of:
            constant_init(getattr(self, self.norm_of[self.last_conv]), 0)


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions (ResNet-18 and 34)."""

    expansion = 1

    def convs(self, mid: int, dilation: int, groups: int, style: str) -> list[Conv]:
        if groups != 1:
            raise ValueError(
                f"groups={groups} needs a bottleneck block: use a depth of 50 or more, or groups=1"
            )
        return [
            Conv(self.in_channels, mid, 3, self.stride, dilation),
            Conv(mid, self.out_channels, 3),
        ]


class Bottleneck(ResidualBlock):
    """1×1, 3×3 and 1×1 convolutions (ResNet-50 and deeper; ResNeXt with groups)."""

    expansion = 4

    def convs(self, mid: int, dilation: int, groups: int, style: str) -> list[Conv]:
        if mid % groups:
            raise ValueError(
                f"groups must divide the {mid} channels of the 3×3 convolutions, got {groups}"
            )
        stride_1x1, stride_3x3 = (self.stride, 1) if style == "caffe" else (1, self.stride)
        return [
            Conv(self.in_channels, mid, 1, stride_1x1),
            Conv(mid, mid, 3, stride_3x3, dilation, groups, deformable=True),
            Conv(mid, self.out_channels, 1),
        ]


def norms_and_relus(kinds: str, norm_cfg: dict, channels: int) -> nn.Module | None:
    """A Sequential of the layers named in ``kinds``, or None if there are none.

    They have a container of their own, so that tools that pair a convolution with the next norm
    among its siblings do not fold a norm of the sum into the branch.
    """
    layers = [
        build_norm_layer(norm_cfg, channels)[1] if kind == "norm" else nn.ReLU(inplace=True)
        for kind in kinds.split()
    ]
    return nn.Sequential(*layers) if layers else None
