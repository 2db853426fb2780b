"""Parameters and multiply-accumulates (MACs) of a model, and the configs of models by name."""

import torch
from mmengine.config import Config
from mmpretrain.apis.model import list_models
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..config import build_model, load_config
from ..errors import UserError, did_you_mean
from ..hub import MODEL_SUFFIX, hub_model
from ..weights.fit import OnMeta


def find_config(name: str, options: list[str] | None = None) -> Config:
    """The config at a path, or that of a model in the hub.

    Args:
        name: The path, or the name; its ``_8xb32_in1k`` may be left out.
        options: What ``--cfg-options`` gave, for a path.

    Raises:
        UserError: If there is none, or it has no model with a backbone.
    """
    if name.endswith(".py"):
        config = load_config(name, options)
    elif known := hub_model(name) or hub_model(name + MODEL_SUFFIX):
        config = known.config
    else:
        hint = did_you_mean(name, [model.removesuffix(MODEL_SUFFIX) for model in list_models()])
        raise UserError(f"{name!r} is neither a config nor a model of the hub.{hint}")
    assert isinstance(config, Config)
    if "backbone" not in (config.get("model") or {}):
        raise UserError(f"the config {name} has no model with a backbone")
    return config


def network(config: Config, backbone_only: bool = False) -> nn.Module:
    """A whole classifier, or the backbone of any other model, in evaluation mode.

    Args:
        config: A config with a model; stays unchanged.
        backbone_only: Leave out the head of a classifier, too.

    Raises:
        UserError: If it cannot be built.
    """
    whole = "head" in config.model and not backbone_only  # detectors have heads with other names
    part = config.model if whole else config.model.backbone
    model = build_model(Config(dict(model=part, default_scope=config.get("default_scope"))))
    assert model is not None
    model.eval()  # not chained: MMPretrain's backbones return nothing
    return model


@torch.no_grad()
def count(
    config: Config, size: tuple[int, int] = (224, 224), backbone_only: bool = False
) -> tuple[int, int]:
    """Parameters and MACs of a whole classifier, or of the backbone of any other model.

    MACs are those of convolutions, transposed convolutions, linear layers and attention for one
    image, each time that one runs. Norms, activations, pooling and products of maps do not count.

    Args:
        config: A config with a model; stays unchanged.
        size: Height and width of the image, in pixels.
        backbone_only: Leave out the head of a classifier, too.

    Raises:
        UserError: If the model cannot be built, or has a layer that cannot be counted.
    """
    with OnMeta():  # takes no memory, and computes nothing
        model = network(config, backbone_only)
    model.to("meta")
    with FlopCounterMode(display=False) as counter:
        try:
            model(torch.empty(1, 3, *size, device="meta"))
        except (RuntimeError, NotImplementedError) as error:
            layer = max(counter.mod_tracker.parents, key=len)
            raise UserError(f"the MACs of {layer} cannot be counted: {error}") from error
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2
