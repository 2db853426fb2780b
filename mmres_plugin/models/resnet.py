"""ResNet with an argument for each idea of the plugin; all of its networks inherit from it.

MMPretrain's ResNet does the rest (stem, loop over the stages, ``out_indices``, freezing,
``norm_eval``, drop-path schedule). This class builds other stages in one method,
``make_res_layer``: a :class:`~mmres_plugin.models.stage.Stage` of our blocks, each with arguments
of its own. The ideas combine freely; the registered classes name the combinations that were
published.
"""

import warnings
from collections.abc import Sequence

from mmpretrain.models.backbones import ResNet as _ResNet
from mmpretrain.models.backbones import ResNet_CIFAR
from torch import nn

from .arguments import Depth, PerStage, blocks_per_stage, per_stage, refuse_unknown, require
from .block import BasicBlock, Bottleneck, ResidualBlock
from .block_order import iresnet_order
from .features import FeatureInfo
from .layer_decay import LayerDecay
from .plugins import plugins_of_stage
from .shortcut import EncoderDecoder, projection
from .stage import Stage

DEPTHS: dict[int, tuple[type[ResidualBlock], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    200: (Bottleneck, (3, 24, 36, 3)),
    302: (Bottleneck, (4, 34, 58, 4)),
    404: (Bottleneck, (4, 46, 80, 4)),
    1001: (Bottleneck, (4, 155, 170, 4)),
}

INIT_CFG = [
    {"type": "Kaiming", "layer": ["Conv2d", "ConvTranspose2d"]},
    {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]},
]


class ResNet(FeatureInfo, LayerDecay, _ResNet):
    """ResNet whose stages, branches and shortcuts can be varied independently.

    It maps images, N×in_channels×H×W, to a tuple of the features of the stages in ``out_indices``,
    each N×C×⌈H/s⌉×⌈W/s⌉, s the stride up to that stage.

    Arguments not described here are those of :class:`mmpretrain.models.ResNet`, and so are the
    state-dict keys.

    Args:
        depth: A key of :data:`DEPTHS`, or the number of bottleneck blocks of each stage; required.
        groups: Groups of the 3×3 convolutions (arXiv 1611.05431): one number, or one per stage.
        width_per_group: Channels of each group in stage 1, doubled from stage to stage; or one
            number per stage. None is the plain ResNet width, ``base_channels``.
            ``groups=32, width_per_group=4`` is ResNeXt 32×4d; ``width_per_group=62`` is a ResNet
            with 62/64 of its inner width.
        se_ratio: Squeeze ratio of SE layers (arXiv 1709.01507), None for none; or one per stage.
        encoder_decoder: Arguments ``ratio`` and ``groups``, or one of them, of
            :class:`~mmres_plugin.models.shortcut.EncoderDecoder` on every shortcut; None for none.
            By default the code has as many channels as the inner width of the published network:
            1/4 of the block's, 1/2 where the 3×3 convolutions are grouped.
        recursions: How often each stage is re-entered (SReResNet): one number, or one per stage.
        staged_blocks: Start, middle and end blocks (IResNet) instead of ResNet's.
        max_pool_shortcut: Max-pool projections and no pool in the stem (IResNet).
        cifar_stem: A stem for images of about 32 pixels: a 3×3 convolution with stride 1 and no
            pool, as in :class:`mmpretrain.models.ResNet_CIFAR`. A deep stem has no stride either.
        strides: Stride of each stage. None is 2, but 1 for the first stage after a stem that
            pools or is made for CIFAR.
        dilations: Dilation of the 3×3 convolutions: one number, or one per stage.
        out_indices: Stages whose outputs are returned, counted from 0. MMPretrain's default, the
            last stage; detectors want ``(0, 1, 2, 3)``.
        frozen_stages: Stem and stages up to this number are not trained; -1 freezes nothing,
            0 the stem alone.
        with_cp: Checkpoint activations: one switch, or one per stage. Values, gradients and
            running statistics are those of a network without.
        dcn: MMCV config of deformable convolutions in place of the 3×3.
        stage_with_dcn: Which stages have them; at least one if there is ``dcn``.
        plugins: As in MMDetection's ResNet: ``dict(cfg=…, position='after_convK', stages=…)``.
        drop_path_rate: Probability of dropping the last branch in training; it grows from 0 at
            the first one.
        zero_init_residual: Start with the last norm of each branch at zero, unless pretrained
            weights are loaded.
        init_cfg: MMEngine initialisation config; by default Kaiming for all convolutions.

    Raises:
        TypeError: For an argument that does not exist; the message names the class.
        ValueError: For a value that is not described above; the message names the argument.
    """

    arch_settings = DEPTHS  # the table in which the parent class looks up ``depth``

    def __init__(
        self,
        depth: Depth = None,
        *,
        groups: PerStage = 1,
        width_per_group: PerStage | None = None,
        se_ratio: int | Sequence[int | None] | None = None,
        encoder_decoder: dict | None = None,
        recursions: PerStage = 0,
        staged_blocks: bool = False,
        max_pool_shortcut: bool = False,
        cifar_stem: bool = False,
        avg_down: bool = False,
        num_stages: int = 4,
        strides: PerStage | None = None,
        dilations: PerStage = 1,
        out_indices: Sequence[int] = (3,),
        style: str = "pytorch",
        frozen_stages: int = -1,
        with_cp: bool | Sequence[bool] = False,
        dcn: dict | None = None,
        stage_with_dcn: bool | Sequence[bool] = False,
        plugins: list[dict] | None = None,
        drop_path_rate: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        refuse_unknown(type(self), kwargs)
        if depth is None:
            raise TypeError(f"{type(self).__name__}: missing the argument 'depth'")
        fits = isinstance(num_stages, int) and 1 <= num_stages <= 4
        require("num_stages", num_stages, fits, "1, 2, 3 or 4")
        stages = list(range(num_stages))
        fits = isinstance(out_indices, (tuple, list)) and len(out_indices) > 0
        fits = fits and all(index in stages for index in out_indices)
        require("out_indices", out_indices, fits, f"a tuple of stages from {stages}")
        require("style", style, style in ("pytorch", "caffe"), "'pytorch' or 'caffe'")
        fits = isinstance(frozen_stages, int) and -1 <= frozen_stages <= num_stages
        require("frozen_stages", frozen_stages, fits, f"a whole number from -1 to {num_stages}")
        fits = isinstance(drop_path_rate, (int, float)) and 0 <= drop_path_rate < 1
        require("drop_path_rate", drop_path_rate, fits, "a number from 0 to below 1")
        fits = isinstance(encoder_decoder, dict) or encoder_decoder is None
        require("encoder_decoder", encoder_decoder, fits, "a dict, or None")
        fits = isinstance(plugins, (tuple, list)) or plugins is None
        require("plugins", plugins, fits, "a list of dicts")
        init_cfg = INIT_CFG if init_cfg is None else init_cfg
        fits = isinstance(init_cfg, (dict, list, tuple))
        require("init_cfg", init_cfg, fits, "a dict, or a list of dicts")
        if max_pool_shortcut and avg_down:
            raise ValueError("avg_down=True needs max_pool_shortcut=False: a shortcut has one pool")
        depth = blocks_per_stage(depth, num_stages)
        if isinstance(depth, tuple):
            self.arch_settings = {depth: (Bottleneck, depth)}
        require("depth", depth, depth in self.arch_settings, f"one of {list(DEPTHS)}, or a tuple")

        # The parent's constructor builds the stages, by calls of `make_res_layer` that need these.
        self.groups = per_stage("groups", groups, num_stages, minimum=1)
        self.width_per_group = None
        if width_per_group is not None:
            widths = per_stage("width_per_group", width_per_group, num_stages, minimum=1)
            doubled = isinstance(width_per_group, int)
            self.width_per_group = [width << stage * doubled for stage, width in enumerate(widths)]
        self.se_ratio = per_stage("se_ratio", se_ratio, num_stages, minimum=1, optional=True)
        self.encoder_decoder = encoder_decoder
        self.recursions = per_stage("recursions", recursions, num_stages, minimum=0)
        self.staged_blocks = staged_blocks
        self.max_pool_shortcut = max_pool_shortcut
        self.cifar_stem = cifar_stem
        self.stage_with_cp = per_stage("with_cp", with_cp, num_stages)
        self.dcn = dcn
        self.stage_with_dcn = per_stage("stage_with_dcn", stage_with_dcn, num_stages)
        fits = dcn is None or any(self.stage_with_dcn)
        require("stage_with_dcn", stage_with_dcn, fits, "true for a stage, as dcn is set")
        self.plugins = plugins
        super().__init__(
            depth,  # pyright: ignore[reportCallIssue]
            avg_down=avg_down,
            num_stages=num_stages,
            strides=self.stage_strides(strides, num_stages),
            dilations=per_stage("dilations", dilations, num_stages, minimum=1),
            out_indices=out_indices,
            style=style,
            frozen_stages=frozen_stages,
            with_cp=any(self.stage_with_cp),
            drop_path_rate=drop_path_rate,
            init_cfg=init_cfg,
            **kwargs,
        )

    def stage_strides(self, strides: PerStage | None, num_stages: int) -> tuple[int, ...]:
        """The stride of each stage, and a warning if it gives other maps than in ResNet."""
        no_pool = self.max_pool_shortcut and not self.cifar_stem
        if strides is None:
            strides = (2 if no_pool else 1, 2, 2, 2)[:num_stages]
        strides = per_stage("strides", strides, num_stages, minimum=1)
        if no_pool and strides[0] == 1:
            warnings.warn(
                f"{type(self).__name__}: strides={strides} makes each map twice as large as in "
                "ResNet, whose stem has a pool. For maps of the same size, write "
                f"strides={(2, *strides[1:])}",
                stacklevel=3,
            )
        return strides

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        if self.cifar_stem and not self.deep_stem:
            ResNet_CIFAR._make_stem_layer(self, in_channels, stem_channels)  # pyright: ignore[reportArgumentType]
        else:
            super()._make_stem_layer(in_channels, stem_channels)
            if self.cifar_stem:
                self.stem[0].conv.stride = (1, 1)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        if self.cifar_stem or self.max_pool_shortcut:
            self.maxpool = nn.Identity()

    def make_res_layer(
        self,
        block: type[ResidualBlock],
        num_blocks: int,
        in_channels: int,
        out_channels: int,
        expansion: int,
        stride: int,
        avg_down: bool,
        with_cp: bool,
        drop_path_rate: list[float],
        **block_kwargs,
    ) -> Stage:
        """Build the next stage; the parent class calls this once per stage, in order."""
        stage = len(self.res_layers)
        groups = self.groups[stage]
        width = out_channels // expansion
        if self.width_per_group is not None:
            width = groups * self.width_per_group[stage]
        blocks = []
        for index in range(num_blocks):
            first = index == 0
            shape = (in_channels if first else out_channels, out_channels)
            block_stride = stride if first else 1
            blocks.append(
                block(
                    *shape,
                    width,
                    stride=block_stride,
                    groups=groups,
                    order=iresnet_order(index, num_blocks) if self.staged_blocks else "resnet",
                    downsample=self.make_shortcut(*shape, block_stride, groups),
                    se_ratio=self.se_ratio[stage],
                    drop_path_rate=drop_path_rate[index],
                    with_cp=self.stage_with_cp[stage],
                    dcn=self.dcn if self.stage_with_dcn[stage] else None,
                    plugins=plugins_of_stage(self.plugins, stage, self.num_stages),
                    **block_kwargs,
                )
            )
        return Stage(blocks, self.recursions[stage])

    def make_shortcut(
        self, in_channels: int, out_channels: int, stride: int, groups: int
    ) -> nn.Module | None:
        """The shortcut of a block: the projection it needs, and the encoder-decoder if any."""
        cfgs = {"conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg}
        pool = "max" if self.max_pool_shortcut else "avg" if self.avg_down else None
        shortcut = projection(in_channels, out_channels, stride, pool=pool, **cfgs)
        if self.encoder_decoder is None:
            return shortcut
        ratio = 1 / 4 if groups == 1 else 1 / 2
        return EncoderDecoder(
            shortcut, out_channels, **{"ratio": ratio, **self.encoder_decoder}, **cfgs
        )

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, zero the branches' last norms if asked to, then load.

        ``dict(type='Pretrained', checkpoint=…, prefix=…)`` is MMEngine's, but an error where
        little or nothing is loaded (:func:`~mmres_plugin.weights.pretrained.load_pretrained`);
        ``allow_partial=True`` in it permits that.
        """
        # Not at the top: a network without weights needs neither the converters nor the hub.
        from ..weights.pretrained import is_pretrained, load_pretrained

        if self.is_init:
            return
        init_cfg, zero = self.init_cfg, self.zero_init_residual
        cfgs = [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg or ())
        pretrained = [cfg for cfg in cfgs if is_pretrained(cfg)]
        # The parent class would load without checking, and knows no blocks to zero.
        self.init_cfg = [cfg for cfg in cfgs if not is_pretrained(cfg)]
        self.zero_init_residual = False
        try:
            super().init_weights()
        finally:
            self.init_cfg, self.zero_init_residual = init_cfg, zero
        if zero and not pretrained:
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    module.zero_init_last_norm()
        for cfg in pretrained:
            load_pretrained(self, **{key: cfg[key] for key in cfg if key != "type"})

    def conv_norm_pairs(self) -> list[tuple[str, str]]:
        """Names of the stem's convolution and of its norm, for folding.

        A deep stem is made of MMCV's ``ConvModule``, which knows its own.
        """
        return [] if self.deep_stem else [("conv1", self.norm1_name)]

    def train(self, mode: bool = True) -> "ResNet":
        """Set the mode; frozen stages, and all norms with ``norm_eval``, stay in evaluation."""
        super().train(mode)
        return self
