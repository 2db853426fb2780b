"""Finding the ``type`` names in a config that no registry knows, and what no class takes."""

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

from .errors import close_name, did_you_mean

# Keys beside ``type`` that the runner takes out before it calls the class.
TAKEN_BEFORE = (
    *("type", "_scope_", "priority", "constructor", "paramwise_cfg"),
    *("convert_to_iter_based", "by_epoch"),
)


def unknown_types(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each ``type`` outside the model that no registry knows.

    Args:
        cfg: The config.
        loops: The loops that will run, of ``'train'``, ``'val'`` and ``'test'``.
    """
    for place, node, where in typed_places(cfg, loops):
        if not isinstance(node, dict) or not isinstance(node.get("type"), str):
            continue  # a class instead of a name, or a default
        known = names_in(where, scope_of(node, cfg.get("default_scope")), node["type"])
        if known is not None:
            yield (
                f"{place}.type: there is no {where.name} named '{node['type']}'."
                f"{did_you_mean(node['type'], known)}"
            )


def unknown_arguments(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each argument outside the model that the class named beside it does not have.

    Classes that take any keyword are not judged, but for the hook of checkpoints: it hands the
    rest to the runner, which would notice a slip only at the end of the first epoch.
    """
    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader") or {}
        known = {*parameters(DataLoader), "num_batch_per_epoch"}
        yield from not_in(known, loader, f"{loop}_dataloader", "DataLoader")
    for place, node, where in typed_places(cfg, loops):
        kind = node.get("type") if isinstance(node, dict) else None
        cls = class_of(kind, where, scope_of(node, cfg.get("default_scope"))) if kind else None
        if cls is None:
            continue
        known = parameters(cls)
        if issubclass(cls, CheckpointHook):
            known = {*known, *parameters(Runner.save_checkpoint)} - {"kwargs"}
        elif any(p.kind is p.VAR_KEYWORD for p in known.values()):
            continue
        yield from not_in({*known, *TAKEN_BEFORE}, node, place, cls.__name__)


def refused_argument(model: Any, scope: str | None, error: str) -> Iterator[str]:
    """A problem for each place in the model that has the argument which a constructor refused.

    Args:
        model: The config of the model.
        scope: The default scope.
        error: The text of the constructor's TypeError.
    """
    found = re.search(r"unexpected keyword argument '(\w+)'", error)
    for place, node in dicts(model, "model") if found else ():
        cls = class_of(node.get("type"), registry.MODELS, scope_of(node, scope))
        if cls is not None and found[1] in node:
            known = {name for base in cls.__mro__ for name in parameters(base)}
            yield from not_in(known, {found[1]: None}, place, cls.__name__)


def not_in(known: Iterable[str], node: dict, place: str, owner: str) -> Iterator[str]:
    """A problem for each key of ``node`` that is not one of ``known``."""
    for key in node:
        if key not in known:
            yield f"{place}.{key}: {owner} has no argument '{key}'.{did_you_mean(key, known)}"


def parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function or of a class's constructor."""
    return inspect.signature(function).parameters


def class_of(kind: Any, where: Registry, scope: str | None) -> type | None:
    """The class registered as ``kind``, which may be a class already, or None if there is none."""
    if isinstance(kind, str):
        with (
            DefaultScope.overwrite_default_scope(scope),
            where.switch_scope_and_registry(None) as r,
        ):
            try:
                kind = r.get(kind)
            except RuntimeError:  # a dotted name that cannot be imported
                return None
    return kind if isinstance(kind, type) else None


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


def typed_places(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, Any, Registry]]:
    """The dicts of the config that the runner builds, and the registry for each."""
    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader") or {}
        for place, dataset in datasets(loader.get("dataset"), f"{loop}_dataloader.dataset"):
            yield place, dataset, registry.DATASETS
            for index, transform in enumerate(dataset.get("pipeline") or []):
                yield f"{place}.pipeline.{index}", transform, registry.TRANSFORMS
        for index, metric in enumerate(as_list(cfg.get(f"{loop}_evaluator"))):
            kind = registry.METRICS if "metrics" not in metric else registry.EVALUATOR
            yield f"{loop}_evaluator.{index}", metric, kind
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


def datasets(node: Any, place: str) -> Iterator[tuple[str, dict]]:
    """``node`` and, where it wraps others (repeat, concatenate, balance …), all of them."""
    if not isinstance(node, dict):
        return
    yield place, node
    yield from datasets(node.get("dataset"), f"{place}.dataset")
    for index, inner in enumerate(node.get("datasets") or []):
        yield from datasets(inner, f"{place}.datasets.{index}")


def unknown_model_types(model: Any, scope: str | None) -> Iterator[str]:
    """A problem for each ``type`` within the model that looks like a slip of a registered name."""
    for place, node in dicts(model, "model"):
        name = node.get("type")
        if not isinstance(name, str):
            continue
        own = scope_of(node, scope)
        tables = [names_in(where, own, name) for where in (registry.MODELS, registry.TASK_UTILS)]
        close = None if None in tables else close_name(name, set().union(*tables))
        if close:
            yield f"{place}.type: nothing is registered as '{name}'. Did you mean '{close}'?"


def names_in(where: Registry, scope: str | None, name: str) -> set[str] | None:
    """None if the registry knows ``name`` in ``scope``, else all the names it does know."""
    with DefaultScope.overwrite_default_scope(scope), where.switch_scope_and_registry(None) as own:
        try:
            if own.get(name) is not None:
                return None
        except RuntimeError:  # a dotted name that cannot be imported either
            pass
        prefix, _, _ = name.rpartition(".")
        child = own.root._search_child(prefix) if prefix else None
        if child is not None:
            return {f"{prefix}.{known}" for known in child.module_dict}
        known = set()
        while own is not None:
            known.update(own.module_dict)
            own = own.parent
        return known


def as_list(value: Any) -> list:
    """A list of what is one thing, a list of things or nothing."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
