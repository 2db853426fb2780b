"""Activation checkpointing that leaves no trace in the norms.

A checkpointed block runs twice, once forward and once more during backward. The second run must
not move the running statistics of its norms again, else a network trained with
``with_cp=True`` ends with other statistics than one trained without.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils import checkpoint as torch_checkpoint

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within the context the running statistics of the norms in ``module`` are copies.

    The norms still normalise as their mode says, so outputs and gradients are the same.
    """
    kept = [
        (norm, name, getattr(norm, name))
        for norm in module.modules()
        for name in STATISTICS
        if getattr(norm, name, None) is not None
    ]
    for norm, name, statistic in kept:
        setattr(norm, name, statistic.clone())
    try:
        yield
    finally:
        for norm, name, statistic in kept:
            setattr(norm, name, statistic)


def checkpoint(module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)``, its activations recomputed in backward instead of kept.

    Args:
        module: The module whose norms ``function`` runs.
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
