"""SReFPN: a feature pyramid that runs twice, as the stages of SReResNet do.

**The design is ours.** The SReResNet paper reports the gain of a Stage Recursive Feature Pyramid
Network (+2.5 box AP over ResNet, together with SReResNet); a public summary says that it simplifies
RFP, the recursive pyramid of DetectoRS (arXiv 2006.02334), which feeds the maps of an FPN back into
the backbone. Its structure is neither in the abstract nor in the authors' code. What is here stays
in the neck and applies the rule of :mod:`.stage` to MMDetection's FPN:

- the first pass is FPN: lateral convolutions, top-down path, output convolutions;
- a later pass starts after the lateral convolutions, which change the number of channels: each
  level's pyramid map is added to its lateral map, and the sums go on. A stage needs no such sum,
  since the shortcuts of its blocks keep what came in.

No parameter is added: the state dict is FPN's. In any detector, ``neck.type`` is all that changes.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.models.necks import FPN
from torch import Tensor

from ..registry import register
from .arguments import require


@register
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
        levels = len(self.in_channels)
        require("inputs", len(inputs), len(inputs) == levels, f"{levels} maps (in_channels)")
        used = inputs[self.start_level : self.backbone_end_level]
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, used, strict=True)]
        outs = self.outputs(inputs, laterals)
        for _ in range(self.recursions):
            sums = [lateral + out for lateral, out in zip(laterals, outs, strict=False)]
            outs = self.outputs(inputs, sums)
        return tuple(outs)

    def outputs(self, inputs: Sequence[Tensor], laterals: Sequence[Tensor]) -> list[Tensor]:
        """FPN from the lateral maps on: top-down path, output convolutions, extra levels."""
        merged = list(laterals)
        for i in range(len(merged) - 1, 0, -1):
            size = {"size": merged[i - 1].shape[2:], **self.upsample_cfg}
            if "scale_factor" in self.upsample_cfg:
                del size["size"]
            merged[i - 1] = merged[i - 1] + F.interpolate(merged[i], **size)
        outs = [conv(x) for conv, x in zip(self.fpn_convs, merged, strict=False)]
        if not self.add_extra_convs:
            while len(outs) < self.num_outs:
                outs.append(F.max_pool2d(outs[-1], 1, stride=2))
            return outs
        if self.add_extra_convs == "on_input":
            x = inputs[self.backbone_end_level - 1]
        else:
            x = merged[-1] if self.add_extra_convs == "on_lateral" else outs[-1]
        for conv in self.fpn_convs[len(merged) :]:
            outs.append(conv(x))
            x = F.relu(outs[-1]) if self.relu_before_extra_convs else outs[-1]
        return outs
