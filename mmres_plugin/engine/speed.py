"""Faster training and testing, switched on by a line of the config."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
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
