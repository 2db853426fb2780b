"""Are the ``type`` names in a config registered, and do their classes take the arguments?"""

import re
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..config_parts import dicts, look_up, names_in, scope_of, typed_parts
from ..errors import did_you_mean

# Keys next to ``type`` that the runner takes out before it calls the class.
TAKEN_BEFORE = {"type", "_scope_", "priority", "constructor", "paramwise_cfg", "by_epoch"}
TAKEN_BEFORE |= {"convert_to_iter_based"}


def unknown_names(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each type outside the model that no registry knows, and each unknown argument.

    Classes that take any keyword are not checked, except the hook of checkpoints: it hands the rest
    to the runner, which would notice a typo only at the end of the first epoch.
    """
    for loop in loops:
        known = {*signature(DataLoader).parameters, "num_batch_per_epoch"}
        loader = cfg.get(f"{loop}_dataloader") or {}
        yield from not_in(known, loader, f"{loop}_dataloader", "DataLoader")
    for key, node, where in typed_parts(cfg, loops):
        kind = node.get("type") if isinstance(node, dict) else None
        if kind is None:
            continue
        scope = scope_of(node, cfg.get("default_scope"))
        found = look_up(kind, where, scope)
        if found is None:
            meant = did_you_mean(kind, names_in(where, scope, kind))
            yield f"{key}.type: there is no {where.name} named '{kind}'.{meant}"
        elif isinstance(found, type):
            known = signature(found).parameters
            if issubclass(found, CheckpointHook):
                saving = {*signature(Runner.save_checkpoint).parameters} - {"kwargs"}
                known = arguments(found) | saving
            elif any(p.kind is p.VAR_KEYWORD for p in known.values()):
                continue
            yield from not_in({*known, *TAKEN_BEFORE}, node, key, found.__name__)


def slips_in_model(model: Any, scope: str | None, error: str) -> Iterator[str]:
    """A problem for each part of the model that explains why it cannot be built.

    These are types that look like a slip of a registered name, and the argument that a constructor
    has refused.

    Args:
        model: The config of the model.
        scope: The default scope.
        error: The text of the error.
    """
    refused = re.search(r"unexpected keyword argument '(\w+)'", error)
    for key, node in dicts(model, "model"):
        name, own = node.get("type"), scope_of(node, scope)
        cls = look_up(name, registry.MODELS, own)
        if refused and isinstance(cls, type) and refused[1] in node:
            yield from not_in(arguments(cls), {refused[1]: None}, key, cls.__name__)
        elif cls is None and isinstance(name, str) and not look_up(name, registry.TASK_UTILS, own):
            tables = (registry.MODELS, registry.TASK_UTILS)
            meant = did_you_mean(name, set().union(*(names_in(one, own, name) for one in tables)))
            if meant or key.endswith(("norm_cfg", "act_cfg", "conv_cfg")):
                yield f"{key}.type: nothing is registered as '{name}'.{meant}"


def arguments(cls: type) -> set[str]:
    """The arguments of a class and of its parents, which it may pass on to them."""
    return {name for base in cls.__mro__ for name in signature(base).parameters}


def not_in(known: Iterable[str], node: Mapping, key: str, owner: str) -> Iterator[str]:
    """A problem for each argument in ``node`` that is not one of ``known``."""
    for name in node:
        if name not in known:
            yield f"{key}.{name}: {owner} has no argument '{name}'.{did_you_mean(name, known)}"
