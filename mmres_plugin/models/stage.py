"""A stage: a sequence of blocks that runs once or, with recursion, several times.

Recursion (SReResNet) belongs here and not in the block or the network: the blocks do not know
that they run again, and the state dict is that of the plain stage.
"""

from collections.abc import Sequence

from mmengine.model import ModuleList
from torch import Tensor

from .block import ResidualBlock


class Stage(ModuleList):
    """Residual blocks in a row, re-entered ``recursions`` times.

    A later pass starts after the first block if that block changes the shape of its input (stride
    or channels), since the output of the stage has its final shape already. Otherwise, as in
    stage 1 of ResNet-18, it repeats all blocks.

    A slice, such as ``layer1[:2]``, is a plain stage of these blocks, without recursion.

    Args:
        blocks: The blocks.
        recursions: Passes after the first one; 0 is a plain stage.

    Raises:
        ValueError: If recursion is asked for and no block could run again.
    """

    def __init__(self, blocks: Sequence[ResidualBlock], recursions: int = 0) -> None:
        super().__init__(blocks)
        self.recursions = recursions
        self.reentry = int(len(blocks) > 0 and blocks[0].changes_shape)
        if recursions and self.reentry == len(blocks):
            raise ValueError(
                f"recursions={recursions} is impossible for a stage whose only block changes the "
                f"shape of its input ({blocks[0].in_channels} to {blocks[0].out_channels} "
                f"channels, stride {blocks[0].stride}): no block can run again; use 0 for it"
            )

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the output of the last block."""
        blocks = list(self)
        for block in blocks:
            x = block(x)
        for _ in range(self.recursions):
            for block in blocks[self.reentry :]:
                x = block(x)
        return x
