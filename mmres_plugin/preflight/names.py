"""Are the ``type`` names in a config registered, and do their classes take the arguments?"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..errors import did_you_mean

# Keys next to ``type`` that the runner takes out before it calls the class.
TAKEN_BEFORE = {
    *("type", "_scope_", "priority", "constructor", "paramwise_cfg"),
    *("convert_to_iter_based", "by_epoch"),
}


def unknown_names(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each type outside the model that no registry knows, or argument it lacks.

    Classes that take any keyword are not judged, except the hook of checkpoints: it hands the rest
    to the runner, which would notice a slip only at the end of the first epoch.

    Args:
        cfg: The config.
        loops: The loops that will run, of ``'train'``, ``'val'`` and ``'test'``.
    """
    for loop in loops:
        known = {*parameters(DataLoader), "num_batch_per_epoch"}
        loader = cfg.get(f"{loop}_dataloader") or {}
        yield from not_in(known, loader, f"{loop}_dataloader", "DataLoader")
    for place, node, where in typed_places(cfg, loops):
        kind = node.get("type") if isinstance(node, dict) else None
        if kind is None:
            continue
        scope = scope_of(node, cfg.get("default_scope"))
        found = look_up(kind, where, scope)
        if found is None:
            meant = did_you_mean(kind, names_in(where, scope, kind))
            yield f"{place}.type: there is no {where.name} named '{kind}'.{meant}"
        elif isinstance(found, type):
            known = parameters(found)
            if issubclass(found, CheckpointHook):
                known = {*known, *parameters(Runner.save_checkpoint)} - {"kwargs"}
            elif any(p.kind is p.VAR_KEYWORD for p in known.values()):
                continue
            yield from not_in({*known, *TAKEN_BEFORE}, node, place, found.__name__)


def slips_in_model(model: Any, scope: str | None, error: str) -> Iterator[str]:
    """A problem for each place in the model that explains why it cannot be built.

    These are types that look like a slip of a registered name, and the argument that a constructor
    has refused.

    Args:
        model: The config of the model.
        scope: The default scope.
        error: The text of the error.
    """
    refused = re.search(r"unexpected keyword argument '(\w+)'", error)
    for place, node in dicts(model, "model"):
        name, own = node.get("type"), scope_of(node, scope)
        cls = look_up(name, registry.MODELS, own)
        if refused and isinstance(cls, type) and refused[1] in node:
            arguments = {argument for base in cls.__mro__ for argument in parameters(base)}
            yield from not_in(arguments, {refused[1]: None}, place, cls.__name__)
        elif cls is None and isinstance(name, str) and not look_up(name, registry.TASK_UTILS, own):
            tables = (registry.MODELS, registry.TASK_UTILS)
            meant = did_you_mean(name, set().union(*(names_in(one, own, name) for one in tables)))
            if meant or place.endswith(("norm_cfg", "act_cfg", "conv_cfg")):
                yield f"{place}.type: nothing is registered as '{name}'.{meant}"


def not_in(known: Iterable[str], node: Mapping, place: str, owner: str) -> Iterator[str]:
    """A problem for each key of ``node`` that is not one of ``known``."""
    for key in node:
        if key not in known:
            yield f"{place}.{key}: {owner} has no argument '{key}'.{did_you_mean(key, known)}"


def parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function or of a class's constructor."""
    return inspect.signature(function).parameters


def look_up(kind: Any, where: Registry, scope: str | None) -> Any:
    """What is registered as ``kind``, which may be a class already, or None if there is none."""
    if not isinstance(kind, str):
        return kind
    with DefaultScope.overwrite_default_scope(scope), where.switch_scope_and_registry(None) as own:
        try:
            return own.get(kind)
        except RuntimeError:  # a dotted name that cannot be imported
            return None


def names_in(where: Registry, scope: str | None, name: str) -> set[str]:
    """All names that the registry knows in ``scope``, or in the scope that ``name`` starts with."""
    with DefaultScope.overwrite_default_scope(scope), where.switch_scope_and_registry(None) as own:
        prefix, _, _ = name.rpartition(".")
        child = own.root._search_child(prefix) if prefix else None
        if child is not None:
            return {f"{prefix}.{known}" for known in child.module_dict}
        known: set[str] = set()
        while own is not None:
            known.update(own.module_dict)
            own = own.parent
        return known


def scope_of(node: Mapping, default: str | None) -> str | None:
    """The scope in which the ``type`` of ``node`` is looked up: its own, or the config's."""
    return node.get("_scope_", default)


def dicts(node: Any, place: str) -> Iterator[tuple[str, dict]]:
    """All dicts within ``node``, with their places."""
    if isinstance(node, dict):
        yield place, node
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(child, dict | list | tuple):
            yield from dicts(child, f"{place}.{key}")


def datasets(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    """Place and config of the data sets of ``loops``, wrappers and what they wrap."""

    def within(node: Any, place: str) -> Iterator[tuple[str, dict]]:
        if isinstance(node, dict):
            yield place, node
            yield from within(node.get("dataset"), f"{place}.dataset")
            for index, inner in enumerate(node.get("datasets") or []):
                yield from within(inner, f"{place}.datasets.{index}")

    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader") or {}
        yield from within(loader.get("dataset"), f"{loop}_dataloader.dataset")


def metrics(cfg: Config, loop: str) -> list[tuple[str, dict]]:
    """Place and config of each metric of ``loop``."""
    evaluator = cfg.get(f"{loop}_evaluator")
    return [(f"{loop}_evaluator.{index}", one) for index, one in enumerate(as_list(evaluator))]


def typed_places(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, Any, Registry]]:
    """The dicts of the config that the runner builds, and the registry for each."""
    for place, dataset in datasets(cfg, loops):
        yield place, dataset, registry.DATASETS
        for index, transform in enumerate(dataset.get("pipeline") or []):
            yield f"{place}.pipeline.{index}", transform, registry.TRANSFORMS
    for loop in loops:
        for place, metric in metrics(cfg, loop):
            kind = registry.METRICS if "metrics" not in metric else registry.EVALUATOR
            yield place, metric, kind
        yield f"{loop}_cfg", cfg.get(f"{loop}_cfg"), registry.LOOPS
    for name, hook in (cfg.get("default_hooks") or {}).items():
        yield f"default_hooks.{name}", hook, registry.HOOKS
    for index, hook in enumerate(cfg.get("custom_hooks") or []):
        yield f"custom_hooks.{index}", hook, registry.HOOKS
    if "train" in loops:
        wrapper = cfg.get("optim_wrapper") or {}
        yield "optim_wrapper", wrapper, registry.OPTIM_WRAPPERS
        yield "optim_wrapper.optimizer", wrapper.get("optimizer"), registry.OPTIMIZERS
        for index, scheduler in enumerate(as_list(cfg.get("param_scheduler"))):
            yield f"param_scheduler.{index}", scheduler, registry.PARAM_SCHEDULERS


def as_list(value: Any) -> list:
    """A list of what is one thing, a list of things or nothing."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
