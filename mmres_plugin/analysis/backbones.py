"""Backbones by name, and how each is put into the config of a whole model."""

import copy
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS

from ..config_parts import look_up
from ..errors import UserError
from ..registry import BACKBONES
from ..registry import MODELS as OURS
from .cost import count, find_config

# What the task and the data decide, and so the config: it is the same for every backbone.
OF_THE_TASK = ("in_channels", "out_indices", "frozen_stages", "norm_eval", "norm_cfg", "with_cp")
WIDTHS = ("base_channels", "width_per_group")
WITHIN = 0.05  # of the MACs that --match asks for


def parse(text: str) -> tuple[str, dict]:
    """Read ``[NAME=]BACKBONE[:ARGUMENTS]``.

    Args:
        text: BACKBONE is a name of the hub (``_8xb32_in1k`` may be left out), a registered class
            or the path of a config; ARGUMENTS are Python's: ``depth=18,recursions=(0,1,1,1)``.

    Returns:
        Its name for tables and folders, and its settings. What the task decides is among them only
        if it was written out.

    Raises:
        UserError: If there is no such backbone, or the arguments cannot be read.
    """
    front, _, arguments = text.partition(":")
    name, source = front.split("=", 1) if "=" in front else ("", front)
    try:
        given = Config.fromstring(f"backbone = dict({arguments})", ".py").backbone.to_dict()
    except (SyntaxError, NameError, TypeError, ValueError) as error:
        raise UserError(f"--backbones: cannot read the arguments of {text!r}: {error}") from error
    path = source.endswith(".py")
    if source in BACKBONES:
        settings, scope = {"type": source}, OURS.scope
    elif not path and "." in source and look_up(source, MODELS, None):
        settings, scope = {"type": source}, ""
    else:
        try:
            config = find_config(source)
        except UserError as error:
            hint = "A class of ours (SReResNet) or with its scope (mmdet.ResNet) will do, too."
            raise UserError(f"--backbones: {error}\n{hint}") from error
        settings, scope = config.model.backbone.to_dict(), config.get("default_scope", "mmpretrain")
    settings = {k: v for k, v in settings.items() if k not in (*OF_THE_TASK, "init_cfg")}
    if isinstance(settings["type"], str) and "." not in settings["type"]:
        settings["type"] = f"{scope}.{settings['type']}"
    return name or (Path(source).stem if path else text), {**settings, **given}


def put_in(config: Config, backbone: dict) -> Config:
    """A copy of ``config`` with this backbone; neck and head stay as they are.

    Args:
        config: A classifier or a detector.
        backbone: Its settings. Without an ``init_cfg`` among them, all of it trains from random
            weights.
    """
    config = copy.deepcopy(config)
    old = config.model.backbone
    settings = {**{key: old[key] for key in OF_THE_TASK if key in old}, **backbone}
    if not settings.get("init_cfg"):
        scratch = {"frozen_stages": -1, "norm_eval": False}
        settings.update({key: value for key, value in scratch.items() if key in settings})
        if "norm_cfg" in settings:
            settings["norm_cfg"] = {**settings["norm_cfg"], "requires_grad": True}
    config.model.backbone = ConfigDict(settings)
    return config


def matched(config: Config, backbone: dict, macs: int, size: tuple[int, int]) -> dict:
    """The backbone with another width, so that it costs ``macs`` on images of this size.

    That is the width of all stages (``base_channels``), then, for what is still missing or where
    groups forbid most of these, that inside the blocks alone (``width_per_group``).

    Raises:
        UserError: If no width comes close enough.
    """
    found: dict[int, dict] = {}  # by the distance to `macs`
    for argument in WIDTHS:
        best = found[min(found)] if found else backbone
        width = best.get(argument, best.get("base_channels", 64))
        for _ in range(6):
            changed = {**best, argument: width}
            try:
                _, now = count(put_in(config, changed), size, backbone_only=True)
            except UserError:  # no such width, or no such argument
                break
            found[abs(now - macs)] = changed
            step = round(width * (macs / now) ** 0.5) - width
            width = max(1, width + (step or (1 if now < macs else -1)))
    closest = min(found, default=macs)
    if closest > WITHIN * macs:
        said = f"no {' or '.join(WIDTHS)} comes within {WITHIN:.0%} of {macs / 1e9:.3g} G MACs"
        raise UserError(f"{said}: it is {closest / macs:.0%} off; give the width yourself")
    return found[closest]
