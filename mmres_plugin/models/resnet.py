"""The shell that all backbones of the plugin share.

It inherits MMPretrain's ResNet for what that already does (stem, stages' loop, ``out_indices``,
freezing, ``norm_eval``, drop-path schedule) and extends it at one seam, ``make_res_layer``: a
stage is a :class:`~mmres_plugin.models.stage.Stage` of our blocks, each built once with arguments
of its own. Every idea of the plugin is an argument here, so any of them combine; the registered
classes only name the combinations that were published.
"""

from collections.abc import Sequence

from mmpretrain.models.backbones import ResNet as _ResNet
from torch import nn

from ..weights.pretrained import is_pretrained, load_pretrained
from .arguments import check, check_number, depth_per_stage, per_stage
from .block import BasicBlock, Bottleneck, ResidualBlock
from .layer_decay import layer_depth
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


class ResNet(_ResNet):
    """ResNet whose stages, branches and shortcuts can be varied independently.

    It maps images, N×in_channels×H×W, to a tuple of the features of the stages in ``out_indices``,
    each N×C×⌈H/s⌉×⌈W/s⌉, s the stride up to that stage.

    Arguments not listed here are those of :class:`mmpretrain.models.ResNet` (``in_channels``,
    ``stem_channels``, ``deep_stem``, ``avg_down``, ``conv_cfg`` …), and so
    are the state-dict keys.

    Args:
        depth: A key of :data:`DEPTHS`, or the number of bottleneck blocks of each stage.
        groups: Groups of the 3×3 convolutions (arXiv 1611.05431).
        width_per_group: Channels of each group in stage 1; later stages double it. None is the
            plain ResNet width, ``base_channels``. ``groups=32, width_per_group=4`` is ResNeXt
            32×4d; ``width_per_group=62`` is a ResNet with 62/64 of its inner width.
        se_ratio: Squeeze ratio of SE layers (arXiv 1709.01507); None for none.
        encoder_decoder: Arguments ``ratio`` and ``groups`` of
            :class:`~mmres_plugin.models.shortcut.EncoderDecoder` on every shortcut; None for none.
        recursions: How often each stage is re-entered (SReResNet): one number, or one a stage.
        num_stages: Stages to build, 1 to 4.
        strides: Stride of each stage; None is 1 for the first and 2 for the others.
        dilations: Dilation of the 3×3 convolutions: one number, or one a stage.
        out_indices: Stages whose outputs are returned, counted from 0. MMPretrain's default, the
            last stage; detectors want ``(0, 1, 2, 3)``.
        style: ``'pytorch'`` or ``'caffe'``: the convolution of a bottleneck that strides.
        frozen_stages: Stem and stages up to this number are not trained; -1 freezes nothing,
            0 the stem alone.
        norm_cfg: MMCV config of the norms.
        norm_eval: Keep batch norms in evaluation mode while training.
        with_cp: Checkpoint activations: one switch, or one a stage. Values, gradients and
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
        ValueError: For an argument outside of what is described above; the message names it.
    """

    arch_settings = DEPTHS  # the table in which the parent class looks up ``depth``

    def __init__(
        self,
        depth: int | Sequence[int],
        *,
        groups: int = 1,
        width_per_group: int | None = None,
        se_ratio: int | None = None,
        encoder_decoder: dict | None = None,
        recursions: int | Sequence[int] = 0,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: int | Sequence[int] | None = None,
        dilations: int | Sequence[int] = 1,
        out_indices: Sequence[int] = (3,),
        style: str = "pytorch",
        frozen_stages: int = -1,
        norm_cfg: dict = {"type": "BN", "requires_grad": True},
        with_cp: bool | Sequence[bool] = False,
        dcn: dict | None = None,
        stage_with_dcn: bool | Sequence[bool] = False,
        plugins: list[dict] | None = None,
        drop_path_rate: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        check("num_stages", num_stages, num_stages in (1, 2, 3, 4), "1, 2, 3 or 4")
        depth = depth_per_stage(depth, num_stages)
        if isinstance(depth, tuple):
            self.arch_settings = {depth: (Bottleneck, depth)}
        check("depth", depth, depth in self.arch_settings, f"one of {list(DEPTHS)}, or a tuple")
        if strides is None:
            strides = (1, 2, 2, 2)[:num_stages]
        stages = range(num_stages)
        fits = isinstance(out_indices, (tuple, list)) and len(out_indices) > 0
        fits = fits and all(i in stages for i in out_indices)
        check("out_indices", out_indices, fits, f"a tuple of stages from {list(stages)}")
        check("style", style, style in ("pytorch", "caffe"), "'pytorch' or 'caffe'")
        fits = frozen_stages in range(-1, num_stages + 1)
        check("frozen_stages", frozen_stages, fits, f"a number from -1 to {num_stages}")
        check("drop_path_rate", drop_path_rate, 0 <= drop_path_rate < 1, "from 0 to below 1")
        check_number("groups", groups, 1)
        if width_per_group is not None:
            check_number("width_per_group", width_per_group, 1)
        if se_ratio is not None:
            check_number("se_ratio", se_ratio, 1)
        fits = init_cfg is None or isinstance(init_cfg, (dict, list, tuple))
        check("init_cfg", init_cfg, fits, "a dict, or a list of dicts")
        fits = plugins is None or isinstance(plugins, (tuple, list))
        check("plugins", plugins, fits, "a list of dicts")
        self.groups = groups
        self.width_per_group = width_per_group
        self.se_ratio = se_ratio
        self.encoder_decoder = encoder_decoder
        self.recursions = per_stage("recursions", recursions, num_stages, least=0)
        self.stage_with_cp = per_stage("with_cp", with_cp, num_stages)
        self.dcn = dcn
        self.stage_with_dcn = per_stage("stage_with_dcn", stage_with_dcn, num_stages)
        fits = dcn is None or any(self.stage_with_dcn)
        check("stage_with_dcn", stage_with_dcn, fits, "true for a stage at least, as dcn is set")
        self.plugins = plugins or []
        super().__init__(
            depth,
            base_channels=base_channels,
            num_stages=num_stages,
            strides=per_stage("strides", strides, num_stages, least=1),
            dilations=per_stage("dilations", dilations, num_stages, least=1),
            out_indices=out_indices,
            style=style,
            frozen_stages=frozen_stages,
            norm_cfg=norm_cfg,
            with_cp=any(self.stage_with_cp),
            drop_path_rate=drop_path_rate,
            init_cfg=INIT_CFG if init_cfg is None else init_cfg,
            **kwargs,
        )

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
        """Build the next stage; the parent class calls this once a stage, in order."""
        stage = len(self.res_layers)
        planes = out_channels // expansion
        width = planes
        if self.width_per_group is not None:
            width = self.groups * (self.width_per_group * planes // self.base_channels)
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
                    downsample=self.make_shortcut(*shape, block_stride),
                    se_ratio=self.se_ratio,
                    drop_path_rate=drop_path_rate[index],
                    with_cp=self.stage_with_cp[stage],
                    dcn=self.dcn if self.stage_with_dcn[stage] else None,
                    plugins=self.stage_plugins(stage),
                    **self.block_args(stage, index),
                    **block_kwargs,
                )
            )
        return Stage(blocks, self.recursions[stage])

    def block_args(self, stage: int, index: int) -> dict:
        """What block ``index`` of ``stage`` has of its own, as arguments of the block class."""
        return {"groups": self.groups}

    def make_shortcut(self, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
        """The shortcut of a block: the projection it needs, and the encoder-decoder if any."""
        shortcut = projection(
            in_channels,
            out_channels,
            stride,
            pool=self.shortcut_pool,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
        )
        if self.encoder_decoder is None:
            return shortcut
        return EncoderDecoder(
            shortcut,
            out_channels,
            **self.encoder_decoder,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
        )

    @property
    def shortcut_pool(self) -> str | None:
        """The ``pool`` of :func:`~mmres_plugin.models.shortcut.projection`."""
        return "avg" if self.avg_down else None

    def stage_plugins(self, stage: int) -> list[dict]:
        """The plugins that ``stage`` has; a plugin without ``stages`` stands in all of them."""
        chosen = []
        for plugin in self.plugins:
            wanted = plugin.get("stages")
            wanted = True if wanted is None else wanted
            stages = per_stage("plugin stages", wanted, self.num_stages)
            if stages[stage]:
                chosen.append(plugin)
        return chosen

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, zero the branches' last norms if asked to, then load.

        ``dict(type='Pretrained', checkpoint=…, prefix=…)`` is MMEngine's, but an error where
        little or nothing is loaded (:func:`~mmres_plugin.weights.pretrained.load_pretrained`);
        ``allow_partial=True`` in it permits that.
        """
        if self.is_init:
            return
        init_cfg, zero = self.init_cfg, self.zero_init_residual
        cfgs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
        pretrained = [cfg for cfg in cfgs if is_pretrained(cfg)]
        # The parent class would load without a look, and knows no blocks to zero.
        self.init_cfg = [cfg for cfg in cfgs if not is_pretrained(cfg)]
        self.zero_init_residual = False
        super().init_weights()
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

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Layer of a parameter and number of layers, for layer-wise learning-rate decay.

        Args:
            param_name: Name of the parameter, ``prefix`` included.
            prefix: What stands before the backbone's own names, such as ``'backbone.'``.
        """
        return layer_depth(param_name, self.stage_blocks, prefix)
