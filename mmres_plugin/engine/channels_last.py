"""Training and testing in the memory format that convolutions are fastest in."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)  # again when the module is reloaded
class ChannelsLastHook(Hook):
    """Keeps the convolutions' weights, and so all feature maps, in the channels-last format.

    ``custom_hooks = [dict(type='ChannelsLastHook')]`` in a config. The numbers are the same; the
    images need no change, as the first convolution puts out the format of its weights.
    """

    def before_run(self, runner) -> None:
        """Change the format of the weights, in place: optimizers keep their parameters."""
        runner.model.to(memory_format=torch.channels_last)
