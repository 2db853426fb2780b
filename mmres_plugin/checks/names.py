"""Are the ``type`` names in a config registered, and do their classes take the arguments?"""

import re
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature

from mmengine import registry
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..config_parts import look_up, names_in
from ..errors import did_you_mean
from .setup import Part, Setup

# Keys next to ``type`` that the runner takes out before it calls the class.
TAKEN_BEFORE = {"type", "_scope_", "priority", "constructor", "paramwise_cfg", "by_epoch"}
TAKEN_BEFORE |= {"convert_to_iter_based"}


def unknown_names(setup: Setup) -> Iterator[str]:
    """A problem for each type outside the model that no registry knows, and each unknown argument.

    Classes that take any keyword are not checked, except the hook of checkpoints: it hands the rest
    to the runner, which would notice a typo only at the end of the first epoch.
    """
    for loop, loader in setup.loaders.items():
        known = {*signature(DataLoader).parameters, "num_batch_per_epoch"}
        yield from not_in(known, loader, f"{loop}_dataloader", "DataLoader")
    for part in setup.parts:
        name, found = part.settings.get("type"), part.kind
        if found is None and name is not None:
            meant = did_you_mean(name, names_in(part.registry, part.scope, name))
            yield f"{part.key}.type: there is no {part.registry.name} named '{name}'.{meant}"
        elif isinstance(found, type):
            known = signature(found).parameters
            if issubclass(found, CheckpointHook):
                saving = {*signature(Runner.save_checkpoint).parameters} - {"kwargs"}
                known = arguments(found) | saving
            elif any(p.kind is p.VAR_KEYWORD for p in known.values()):
                continue
            yield from not_in({*known, *TAKEN_BEFORE}, part.settings, part.key, found.__name__)


def slips_in_model(parts: Iterable[Part], error: str) -> Iterator[str]:
    """A problem for each part of the model that explains why it cannot be built.

    These are types that look like a slip of a registered name, and the argument that a constructor
    has refused.

    Args:
        parts: The parts of the model.
        error: The text of the error.
    """
    refused = re.search(r"unexpected keyword argument '(\w+)'", error)
    tables = (registry.MODELS, registry.TASK_UTILS)
    for part in parts:
        key, name, cls = part.key, part.settings.get("type"), part.kind
        if refused and isinstance(cls, type) and refused[1] in part.settings:
            yield from not_in(arguments(cls), {refused[1]: None}, key, cls.__name__)
        elif isinstance(name, str) and not any(look_up(name, one, part.scope) for one in tables):
            known = set().union(*(names_in(one, part.scope, name) for one in tables))
            meant = did_you_mean(name, known)
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
