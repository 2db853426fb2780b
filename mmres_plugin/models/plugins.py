"""Plugins of a block, as in MMDetection's ResNet: layers of MMCV after its convolutions.

A plugin is ``dict(cfg=…, position='after_convK', stages=…)``. Nothing here changes a config that
was passed in.
"""

from mmcv.cnn import build_plugin_layer
from torch import nn

from .arguments import per_stage

Plugins = list[dict] | tuple[dict, ...] | None


def plugins_of_stage(plugins: Plugins, stage: int, num_stages: int) -> list[dict]:
    """The plugins that ``stage`` has; one without ``stages`` stands in all of them."""
    chosen = []
    for plugin in plugins or ():
        stages = plugin.get("stages")
        if per_stage("plugin stages", True if stages is None else stages, num_stages)[stage]:
            chosen.append(plugin)
    return chosen


def check_plugins(plugins: Plugins, num_convs: int) -> None:
    """Raise ValueError for a plugin without a ``cfg``, or without a place among ``num_convs``."""
    positions = [f"after_conv{i}" for i in range(1, num_convs + 1)]
    for plugin in plugins or ():
        position = plugin.get("position")
        if position not in positions:
            raise ValueError(f"plugin position must be one of {positions}, got {position!r}")
        if "cfg" not in plugin:
            raise ValueError(f"a plugin must be dict(cfg=…, position=…), got {plugin!r}")


def build_plugin(cfg: dict, channels: int) -> tuple[str, nn.Module]:
    """Name and layer of a plugin for maps of ``channels`` channels."""
    cfg = dict(cfg)
    return build_plugin_layer(cfg, in_channels=channels, postfix=cfg.pop("postfix", ""))
