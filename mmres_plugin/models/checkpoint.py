"""Activation checkpointing that leaves no trace in the norms.

A checkpointed block runs twice, once forward and once more during backward. The second run must
not move the running statistics of its batch norms again, else a network trained with
``with_cp=True`` ends with other statistics than one trained without.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torch.utils import checkpoint as torch_checkpoint


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within the context the batch norms of ``module`` do not update their running statistics.

    They still normalise as their mode says, so outputs and gradients are the same.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches


def checkpoint(module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, its activations recomputed in backward instead of kept.

    Args:
        module: The module whose batch norms ``function`` runs.
        function: What to run, usually a bound method of ``module``.
        x: Its input, N×C×H×W.
    """
    if torch.compiler.is_compiling():  # the compiler runs the updates of buffers once by itself
        return torch_checkpoint.checkpoint(function, x, use_reentrant=False)
    return torch_checkpoint.checkpoint(
        function,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), frozen_statistics(module)),
    )
