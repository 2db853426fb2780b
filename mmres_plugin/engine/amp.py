"""Mixed precision on a machine without a GPU, where mmengine's wrapper refuses to work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86, twice, and of Arm


def computes_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has instructions for bfloat16; True where it cannot be known."""
    try:
        return bool(INSTRUCTIONS & set(cpuinfo.read_text().split()))
    except OSError:
        return True


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
