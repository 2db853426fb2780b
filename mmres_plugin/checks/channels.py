"""Do neck and head expect the channels that they get? If not, which should they expect?"""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from ..config import build_model
from ..config_parts import as_list

# What modules raise for feature maps that they cannot take.
REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, LookupError, AttributeError)


def fill_channels(cfg: Config) -> dict[str, int | list[int]]:
    """Set ``in_channels`` of neck and head to what they get, as after a change of the backbone.

    Args:
        cfg: The config, which is changed in place.

    Returns:
        What was changed: ``{'model.neck.in_channels': [64, 128, 256, 512]}``.

    Raises:
        UserError: If the model cannot be built.
    """
    changes = {}
    for _ in range(2):  # the neck, and then the head after it
        model = build_model(cfg)
        difference = None if model is None else channel_difference(cfg.model, model)
        if difference is None:
            break
        part, _, found = difference
        changes[f"model.{part}.in_channels"] = found
        cfg.model[part].in_channels = found
    return changes


def wrong_channels(settings: Mapping, model: nn.Module) -> list[str]:
    """A problem where neck or head expect other channels than they get; tried with one image."""
    difference = channel_difference(settings, model)
    if difference is None:
        return []
    part, expected, found = difference
    verb = "the backbone returns" if part == "neck" else "it gets"
    option = f"model.{part}.in_channels={found}".replace(" ", "")
    return [
        f"model.{part}.in_channels is {expected}, but {verb} {found} channels.\n"
        f"Write it into the config, or: --cfg-options {option}"
    ]


def wrong_strides(model: nn.Module) -> list[str]:
    """A problem where a head of MMDetection takes its feature maps for maps of other strides.

    It would look for objects at the wrong points, or leave out maps. Heads with one stride for all
    maps are not looked at.
    """
    head, backbone = getattr(model, "bbox_head", None), getattr(model, "backbone", None)
    neck, strides = getattr(model, "neck", None), getattr(head, "strides", None)
    if not type(head).__module__.startswith("mmdet.") or not isinstance(strides, list | tuple):
        return []
    if len(strides) < 2 or backbone is None or not all(isinstance(one, int) for one in strides):
        return []
    with torch.no_grad():
        maps, refused = tried(backbone, torch.zeros(1, 3, 128, 128))
        if neck is not None and not refused:
            maps, refused = tried(neck, maps)
    found = [] if refused else [128 // one.shape[-1] for one in as_list(maps)]
    if refused or list(strides) == found:
        return []
    return [f"model.bbox_head: its strides are {list(strides)}, those of its maps {found}"]


def channel_difference(settings: Mapping, model: nn.Module) -> tuple[str, Any, Any] | None:
    """The first part after the backbone that expects other channels than it gets.

    Args:
        settings: The config of the model.
        model: The model, which is put into evaluation mode.

    Returns:
        Name of the part, channels that it expects and channels that it gets, each a number or a
        list, or None; None too for networks that need more than an image of 128 pixels: the run
        itself shows their mistakes.
    """
    backbone = getattr(model, "backbone", None)
    first = next((m for m in (backbone or model).modules() if isinstance(m, nn.Conv2d)), None)
    if backbone is None or first is None:
        return None
    model.eval()
    with torch.no_grad():
        features, refused = tried(backbone, torch.zeros(1, first.in_channels, 128, 128))
        for name in ("neck", "head", "bbox_head", "rpn_head"):
            part, given = getattr(model, name, None), settings.get(name)
            if refused or part is None:
                continue
            expected = given.get("in_channels") if isinstance(given, dict) else None
            found = [feature.shape[1] for feature in as_list(features) if hasattr(feature, "shape")]
            result, refused = tried(part, features)
            wanted = found[-1:] if isinstance(expected, int) else found
            if refused and expected is not None and as_list(expected) != wanted:
                return name, expected, wanted[0] if isinstance(expected, int) else wanted
            if name == "neck":
                features = result
    return None


def tried(part: nn.Module, maps: Any) -> tuple[Any, bool]:
    """What a module makes of feature maps, and whether it refuses them."""
    try:
        return part(maps), False
    except NotImplementedError:  # a part without a forward
        return None, False
    except REFUSALS:
        return None, True
