"""The residual block: a branch plus a shortcut.

``after(branch(x) + shortcut(x))``. What the papers vary is data or a slot, so that one block
serves them all and none has a ``forward`` of its own:

- the convolutions of the branch are rows of a table (:class:`ConvRow`), two for the basic block
  and three for the bottleneck; ResNeXt groups one of them, DCN replaces it;
- the shortcut is any module (a projection, an encoder-decoder), or None for the identity;
- SE and plugins stand in slots of the branch;
- where norms and activations stand is a :class:`NormOrder` (IResNet has several).

State-dict keys are those of ResNet: ``conv1``, ``bn1`` …, ``downsample``, ``se_layer``.
"""

from typing import ClassVar, NamedTuple

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer, build_plugin_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.model.weight_init import constant_init
from torch import Tensor, nn

from .checkpoint import checkpoint
from .squeeze_excitation import SELayer


class NormOrder(NamedTuple):
    """Where norms and activations stand in a block; the default is ResNet's order.

    Attributes:
        pre_norm: Whether the branch starts with a norm and an activation; the shortcut sees the
            raw input.
        last_norm: Whether a norm follows the last convolution of the branch.
        after: What is done to the sum of branch and shortcut, from ``'norm'`` and ``'act'``.
    """

    pre_norm: bool = False
    last_norm: bool = True
    after: tuple[str, ...] = ("act",)


RESNET_ORDER = NormOrder()


class ConvRow(NamedTuple):
    """One convolution of a branch; the padding keeps the size at stride 1."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1


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
            first 1×1. A basic block does not look at it.
        norm_order: Where norms and activations stand.
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
        norm_order: NormOrder = RESNET_ORDER,
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
        self.norm_cfg = norm_cfg

        rows = self.conv_rows(in_channels, mid_channels, out_channels, stride, dilation, groups)
        if style == "caffe":
            rows = self.stride_first(rows)
        self.before = self._norms_and_acts(
            ("norm", "act") if norm_order.pre_norm else (), in_channels
        )
        self.norm_names: list[str | None] = []
        for i, row in enumerate(rows, 1):
            self.add_module(f"conv{i}", self._build_conv(row, conv_cfg, dcn))
            if i < len(rows) or norm_order.last_norm:
                name, norm = build_norm_layer(norm_cfg, row.out_channels, postfix=i)
                self.add_module(name, norm)
                self.norm_names.append(name)
            else:
                self.norm_names.append(None)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.se_layer = None if se_ratio is None else SELayer(out_channels, se_ratio)
        self.plugin_names = self._build_plugins(plugins or [], rows)
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.after = self._norms_and_acts(norm_order.after, out_channels)

    def conv_rows(
        self, in_channels: int, mid: int, out_channels: int, stride: int, dilation: int, groups: int
    ) -> list[ConvRow]:
        """The convolutions of the branch, in order."""
        raise NotImplementedError

    @staticmethod
    def stride_first(rows: list[ConvRow]) -> list[ConvRow]:
        """The rows with the stride moved to the first convolution (Caffe's ResNet)."""
        stride = max(row.stride for row in rows)
        return [row._replace(stride=stride if i == 0 else 1) for i, row in enumerate(rows)]

    @property
    def changes_shape(self) -> bool:
        """Whether the output differs from the input in size or channels."""
        return self.stride != 1 or self.in_channels != self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """N×in_channels×H×W to N×out_channels×⌈H/stride⌉×⌈W/stride⌉."""
        if self.with_cp and torch.is_grad_enabled() and not torch.jit.is_tracing():
            return checkpoint(self, self._forward, x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        out = self.drop_path(self.branch(x))
        out += x if self.downsample is None else self.downsample(x)
        return out if self.after is None else self.after(out)

    def branch(self, x: Tensor) -> Tensor:
        """The residual branch, up to the sum."""
        if self.before is not None:
            x = self.before(x)
        last = len(self.norm_names)
        for i, (norm_name, plugin_names) in enumerate(
            zip(self.norm_names, self.plugin_names, strict=True), 1
        ):
            x = getattr(self, f"conv{i}")(x)
            if norm_name is not None:
                x = getattr(self, norm_name)(x)
            if i < last:
                x = self.relu(x)
            elif self.se_layer is not None:
                x = self.se_layer(x)
            for name in plugin_names:
                x = getattr(self, name)(x)
        return x

    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """Names of the convolutions and of the norms that directly follow them, for folding."""
        names = enumerate(self.norm_names, 1)
        return [(f"conv{i}", norm_name) for i, norm_name in names if norm_name is not None]

    def zero_init_last_norm(self) -> None:
        """Zero the scale of the norm before the sum, where there is one.

        The block then starts as its shortcut alone (arXiv 1706.02677, section 5.1).
        """
        if self.norm_names[-1] is not None:
            constant_init(getattr(self, self.norm_names[-1]), 0)

    def _build_conv(self, row: ConvRow, conv_cfg: dict | None, dcn: dict | None) -> nn.Module:
        if dcn is not None and row.kernel_size > 1:
            dcn = dict(dcn)  # the config stays as it was passed
            fallback = dcn.pop("fallback_on_stride", False)
            if not (fallback and self.stride > 1):
                conv_cfg = dcn
        return build_conv_layer(
            conv_cfg,
            row.in_channels,
            row.out_channels,
            row.kernel_size,
            stride=row.stride,
            padding=row.dilation * (row.kernel_size // 2),
            dilation=row.dilation,
            groups=row.groups,
            bias=False,
        )

    def _build_plugins(self, plugins: list[dict], rows: list[ConvRow]) -> list[list[str]]:
        positions = {f"after_conv{i}": [] for i in range(1, len(rows) + 1)}
        for plugin in plugins:
            position = plugin.get("position")
            if position not in positions:
                raise ValueError(
                    f"plugin position must be one of {list(positions)}, got {position!r}"
                )
            if "cfg" not in plugin:
                raise ValueError(f"a plugin must be dict(cfg=…, position=…), got {plugin!r}")
            cfg = dict(plugin["cfg"])  # the config stays as it was passed
            channels = rows[int(position[-1]) - 1].out_channels
            name, layer = build_plugin_layer(
                cfg, in_channels=channels, postfix=cfg.pop("postfix", "")
            )
            if hasattr(self, name):
                raise ValueError(
                    f"plugin {name!r} stands twice in one block: give each a postfix of its own"
                )
            self.add_module(name, layer)
            positions[position].append(name)
        return list(positions.values())

    def _norms_and_acts(self, kinds: tuple[str, ...], channels: int) -> nn.Module | None:
        """A Sequential of the norms and activations named in ``kinds``, or None.

        They are a container of their own so that tools which pair a convolution with the next
        norm among its siblings cannot fold a norm of the sum into the branch.
        """
        build = {
            "norm": lambda: build_norm_layer(self.norm_cfg, channels)[1],
            "act": lambda: nn.ReLU(inplace=True),
        }
        layers = [build[kind]() for kind in kinds]
        return nn.Sequential(*layers) if layers else None


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions (ResNet-18 and 34)."""

    expansion = 1

    def conv_rows(
        self, in_channels: int, mid: int, out_channels: int, stride: int, dilation: int, groups: int
    ) -> list[ConvRow]:
        if groups != 1:
            raise ValueError(
                f"groups={groups} needs a bottleneck block: use a depth of 50 or more, or groups=1"
            )
        return [ConvRow(in_channels, mid, 3, stride, dilation), ConvRow(mid, out_channels, 3)]

    @staticmethod
    def stride_first(rows: list[ConvRow]) -> list[ConvRow]:
        return rows  # it strides in the first convolution anyway

    def _build_conv(self, row: ConvRow, conv_cfg: dict | None, dcn: dict | None) -> nn.Module:
        if dcn is not None:
            raise ValueError("dcn needs a bottleneck block: use a depth of 50 or more, or dcn=None")
        return super()._build_conv(row, conv_cfg, dcn)


class Bottleneck(ResidualBlock):
    """1×1, 3×3 and 1×1 convolutions (ResNet-50 and deeper; ResNeXt with groups)."""

    expansion = 4

    def conv_rows(
        self, in_channels: int, mid: int, out_channels: int, stride: int, dilation: int, groups: int
    ) -> list[ConvRow]:
        if mid % groups:
            raise ValueError(
                f"groups must divide the {mid} channels of the 3×3 convolutions, got {groups}"
            )
        return [
            ConvRow(in_channels, mid, 1),
            ConvRow(mid, mid, 3, stride, dilation, groups),
            ConvRow(mid, out_channels, 1),
        ]
