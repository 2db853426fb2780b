"""Faster training and testing, switched on by a line of the config."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@HOOKS.register_module(force=True)  # again when the module is reloaded
class ChannelsLastHook(Hook):
    """Keeps the convolutions' weights, and so all feature maps, in the channels-last format.

    ``custom_hooks = [dict(type='ChannelsLastHook')]`` in a config. The numbers are the same; the
    images need no change, as the first convolution's output has the format of its weights.
    """

    def before_run(self, runner: Runner) -> None:
        """Change the format of the weights, in place: optimizers keep their parameters."""
        model = runner.model
        if isinstance(model, DistributedDataParallel):
            # Its buckets for gradients have the format that the weights had.
            model = model.module
            model.to(memory_format=torch.channels_last)
            runner.model = runner.wrap_model(runner.cfg.get("model_wrapper_cfg"), model)
        else:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


@OPTIM_WRAPPERS.register_module(force=True)  # again when the module is reloaded
class CPUAmpOptimWrapper(OptimWrapper):
    """Forward pass in bfloat16 on the CPU, where MMEngine's wrapper refuses to work.

    Bfloat16 needs no loss scaling. Takes the arguments of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, within gradient accumulation's own context."""
        with super().optim_context(model), torch.autocast("cpu", dtype=torch.bfloat16):
            yield
