"""Mixed precision on a machine without a GPU, where mmengine's wrapper refuses to work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module(force=True)  # again when the module is reloaded
class CPUAmpOptimWrapper(OptimWrapper):
    """Forward pass in bfloat16 on the CPU; bfloat16 needs no loss scaling.

    Takes the arguments of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, within gradient accumulation's own context."""
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield
