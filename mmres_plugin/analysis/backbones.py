"""Backbones by name, and how each is put into the config of a whole model."""

import copy
import re
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from mmpretrain.apis.model import ModelHub, list_models

from ..commands.cost import Complexity, count
from ..config import load_config
from ..config_parts import look_up
from ..errors import UserError, did_you_mean
from ..registry import MODELS as OURS

HUB_SUFFIX = "_8xb32_in1k"
# What the task and the data decide, and so the config: it is the same for every backbone.
OF_THE_TASK = ("in_channels", "out_indices", "frozen_stages", "norm_eval", "norm_cfg", "with_cp")
WIDTHS = ("base_channels", "width_per_group")
TOLERANCE = 0.05  # of the MACs that --match asks for


class Backbone(NamedTuple):
    """A backbone to compare.

    Attributes:
        name: What tables and folders call it.
        settings: Its config, without what the task decides.
        given: The arguments that were written out; they win over the task's.
    """

    name: str
    settings: dict
    given: dict


def parse(text: str) -> Backbone:
    """Read ``[NAME=]BACKBONE[:ARGUMENTS]``.

    Args:
        text: BACKBONE is a name of the hub (``_8xb32_in1k`` may be left out), a registered class
            or the path of a config; ARGUMENTS are Python's: ``depth=18,recursions=(0,1,1,1)``.

    Raises:
        UserError: If there is no such backbone, or the arguments cannot be read.
    """
    name, source, arguments = re.fullmatch(r"(?:([\w.-]+)=)?([^:]*):?(.*)", text, re.S).groups()
    try:
        given = Config.fromstring(f"backbone = dict({arguments})", ".py").backbone.to_dict()
    except Exception as error:  # the arguments are a program: they can fail in any way
        raise UserError([f"--backbones: cannot read the arguments of {text!r}: {error}"]) from error
    settings, scope = find(source)
    settings = {k: v for k, v in settings.items() if k not in (*OF_THE_TASK, "init_cfg")}
    if isinstance(settings.get("type"), str) and "." not in settings["type"]:
        settings["type"] = f"{scope}.{settings['type']}"
    name = name or (Path(source).stem if source.endswith(".py") else text)
    return Backbone(name, settings, given)


def find(source: str) -> tuple[dict, str]:
    """The config of the backbone that ``source`` names, and the scope of its type."""
    if source.endswith(".py"):
        config = load_config(source)
        if "backbone" not in config.get("model", {}):
            raise UserError([f"--backbones: the config {source} has no model with a backbone"])
        return config.model.backbone.to_dict(), config.get("default_scope") or "mmengine"
    if source in OURS.module_dict:
        return {"type": source}, OURS.scope
    if "." in source and look_up(source, MODELS, None):
        return {"type": source}, ""
    for name in (source, source + HUB_SUFFIX):
        if name in list_models():
            return ModelHub.get(name).config.model.backbone.to_dict(), "mmpretrain"
    known = [name.removesuffix(HUB_SUFFIX) for name in list_models()]
    raise UserError(
        [
            f"--backbones: {source!r} is neither a name of the hub, nor one of our classes "
            f"({', '.join(sorted(OURS.module_dict))}), nor a class with its scope (mmdet.ResNet), "
            "nor the path of a config." + did_you_mean(source, [*OURS.module_dict, *known])
        ]
    )


def put_in(config: Config, backbone: Backbone, weights: str | None = None) -> Config:
    """A copy of ``config`` with this backbone; neck and head stay as they are.

    Args:
        config: A classifier or a detector.
        backbone: From :func:`parse`.
        weights: Checkpoint of a model with this backbone to start from. Without one, and without
            an ``init_cfg`` among the arguments, all of the backbone trains from random weights.
    """
    config = copy.deepcopy(config)
    task = {key: config.model.backbone[key] for key in OF_THE_TASK if key in config.model.backbone}
    if weights:
        task["init_cfg"] = dict(type="Pretrained", checkpoint=weights, prefix="backbone.")
    settings = {**backbone.settings, **task, **backbone.given}
    if not settings.get("init_cfg"):
        scratch = {"frozen_stages": -1, "norm_eval": False}
        settings.update({key: value for key, value in scratch.items() if key in task})
        if "norm_cfg" in task:
            settings["norm_cfg"] = {**settings["norm_cfg"], "requires_grad": True}
    config.model.backbone = ConfigDict(settings)
    return config


def cost(config: Config, size: tuple[int, int]) -> Complexity:
    """Parameters and MACs of the backbone of ``config``.

    Raises:
        UserError: If it cannot be built, or has layers that cannot be counted.
    """
    try:
        return count(config, size, backbone_only=True)
    except Exception as error:  # constructors raise whatever they like
        raise UserError([f"model.backbone: {error}"]) from error


def matched(config: Config, backbone: Backbone, macs: int, size: tuple[int, int]) -> Backbone:
    """The backbone with another width, so that it costs ``macs`` on images of this size.

    That is the width of all stages (``base_channels``), or, where groups forbid most of these,
    that inside the blocks alone (``width_per_group``).

    Raises:
        UserError: If no width comes close enough.
    """
    found: dict[int, Backbone] = {}  # by the distance to `macs`
    for argument in WIDTHS:
        width, seen = {**backbone.settings, **backbone.given}.get(argument, 64), set()
        while isinstance(width, int) and width not in seen:
            seen.add(width)
            changed = backbone._replace(given={**backbone.given, argument: width})
            try:
                now = cost(put_in(config, changed), size).macs
            except UserError:  # no such width, or no such argument
                break
            found[abs(now - macs)] = changed
            width = max(1, round(width * (macs / now) ** 0.5))
    closest = min(found, default=macs)
    if closest > TOLERANCE * macs:
        raise UserError(
            [
                f"--match: no {' or '.join(WIDTHS)} brings {backbone.name} within "
                f"{TOLERANCE:.0%} of {macs / 1e9:.3g} G MACs (the closest is "
                f"{closest / macs:.0%} off); give its width yourself"
            ]
        )
    return found[closest]
