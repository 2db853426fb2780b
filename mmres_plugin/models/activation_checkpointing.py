"""Activation checkpointing that leaves no trace in the norms.

A checkpointed block runs twice, once forward and once more during backward. The second run must
not move the running statistics of its norms again, or a network trained with ``with_cp=True``
would end with other statistics than one trained without.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class FrozenStatistics:
    """A context in which the running statistics of the norms in ``module`` are copies.

    The norms still normalise as their mode says, so outputs and gradients are the same. It can be
    entered again, since a graph that is kept (``retain_graph=True``) runs backward more than once.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.kept: list[tuple[nn.Module, str, Tensor]] = []

    def __enter__(self) -> None:
        self.kept = [
            (norm, name, getattr(norm, name))
            for norm in self.module.modules()
            for name in STATISTICS
            if getattr(norm, name, None) is not None
        ]
        for norm, name, statistic in self.kept:
            setattr(norm, name, statistic.clone())

    def __exit__(self, *error: object) -> None:
        for norm, name, statistic in self.kept:
            setattr(norm, name, statistic)


def checkpoint_activations(
    module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """``function(x)``, with its activations recomputed in backward instead of kept.

    Args:
        module: The module whose norms ``function`` runs.
        function: What to run, usually a bound method of ``module``.
        x: Its input, N×C×H×W.
    """
    if isinstance(x, torch.fx.Proxy):  # the module stays one node, so the graph checkpoints too
        tracer: Any = x.tracer
        return tracer.create_proxy("call_module", tracer.path_of_module(module), (x,), {})
    run: Any = checkpoint
    if torch.compiler.is_compiling():  # the compiler itself updates buffers only once
        return run(function, x, use_reentrant=False)
    return run(
        function,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), FrozenStatistics(module)),
    )
