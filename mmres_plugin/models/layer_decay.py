"""Which layer a parameter belongs to, for layer-wise learning-rate decay."""

from collections.abc import Sequence
from typing import Any

# Blocks per layer in stages 2 and 3, by the number of blocks there: MMPretrain's grouping.
_GROUPED = {(4, 6): (2, 3), (4, 23): (2, 3), (8, 36): (4, 4), (24, 36): (4, 4)}
# Other depths are cut into at most this many layers, as many as MMPretrain gives its deepest.
_MOST_LAYERS = (6, 9)


class LayerDecay:
    """A network with stages that knows the layer of each of its parameters."""

    stage_blocks: Sequence[int]

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Layer of a parameter, counted from the stem, and the number of layers.

        Stages 1 and 4 are one layer each, stages 2 and 3 are cut into several, the head is the
        last.

        Args:
            param_name: Name of the parameter, ``prefix`` included.
            prefix: What stands before the backbone's own names, such as ``'backbone.'``.
        """
        stage_blocks = self.stage_blocks
        per_layer = list(stage_blocks)
        middle: Any = tuple(stage_blocks[1:3])
        cut = [-(-n // most) for n, most in zip(middle, _MOST_LAYERS)]  # noqa: B905 (1 to 4 stages)
        per_layer[1:3] = _GROUPED.get(middle, cut)
        layers = [-(-n // group) for n, group in zip(stage_blocks, per_layer, strict=True)]
        total = 1 + sum(layers) + 1
        if not param_name.startswith(prefix):
            return total - 1, total
        stage, _, rest = param_name[len(prefix) :].partition(".")
        if not stage.startswith("layer"):
            return 0, total
        index = int(stage.removeprefix("layer")) - 1
        block = int(rest.partition(".")[0])
        return 1 + sum(layers[:index]) + block // per_layer[index], total
