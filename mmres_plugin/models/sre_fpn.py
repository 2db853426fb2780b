"""SReFPN: a feature pyramid that runs twice, as the stages of SReResNet do.

**The design is ours.** The SReResNet paper proposes a Stage Recursive Feature Pyramid Network and
reports its gain (+2.5 box AP over ResNet, together with SReResNet), but its structure is in neither
the abstract nor the authors' code, and we know no more of it. What is here applies the rule of
:mod:`.stage` to MMDetection's FPN:

- the first pass is FPN: lateral convolutions, top-down path, output convolutions;
- a later pass starts after the lateral convolutions, which change the number of channels: each
  level's pyramid map is added to its lateral map, and the sums go through the top-down path and the
  output convolutions again. A stage needs no such sum, since the shortcuts of its blocks keep what
  came in; an FPN has no shortcuts.

No parameter is added: the state dict is FPN's. In any detector, ``neck.type`` is all that changes.
"""

from collections.abc import Sequence
from types import SimpleNamespace

from mmdet.models.necks import FPN
from torch import Tensor

from .arguments import require


class SReFPN(FPN):
    """Feature pyramid network that runs ``recursions`` more times.

    Args:
        *args: As in :class:`mmdet.models.necks.FPN`.
        recursions: Passes after the first one; 0 is FPN.
        **kwargs: As in FPN.

    Raises:
        ValueError: If ``recursions`` is not a whole number of 0 or more.
    """

    def __init__(self, *args, recursions: int = 1, **kwargs) -> None:
        fits = isinstance(recursions, int) and recursions >= 0
        require("recursions", recursions, fits, "a whole number from 0")
        super().__init__(*args, **kwargs)
        self.recursions = recursions

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of the backbone's stages, N×C×H×W, to those of ``num_outs`` levels.

        Each has ``out_channels`` channels.
        """
        used = inputs[self.start_level : self.backbone_end_level]
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used, strict=True)]
        outs = self._pass(inputs, laterals)
        for _ in range(self.recursions):
            sums = [lateral + out for lateral, out in zip(laterals, outs, strict=False)]
            outs = self._pass(inputs, sums)
        return outs

    def _pass(self, inputs: Sequence[Tensor], laterals: list[Tensor]) -> tuple[Tensor, ...]:
        """FPN's forward with its own convolutions, but with these lateral maps."""
        given = [lambda _, lateral=lateral: lateral for lateral in laterals]
        parts = SimpleNamespace(**{**vars(self), **self._modules, "lateral_convs": given})
        return FPN.forward(parts, inputs)  # pyright: ignore[reportArgumentType]
