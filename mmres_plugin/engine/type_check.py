"""Finding the ``type`` names in a config that no registry knows."""

from collections.abc import Iterator
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry

from .errors import close_name, did_you_mean


def unknown_types(cfg: Config, loops: tuple[str, ...]) -> Iterator[str]:
    """A problem for each ``type`` outside the model that no registry knows.

    Args:
        cfg: The config.
        loops: The loops that will run, of ``'train'``, ``'val'`` and ``'test'``.
    """
    for place, node, where in typed_places(cfg, loops):
        if not isinstance(node, dict) or not isinstance(node.get("type"), str):
            continue  # a class instead of a name, or a default
        known = names_in(where, cfg.get("default_scope"), node["type"])
        if known is not None:
            yield (
                f"{place}.type: there is no {where.name} named '{node['type']}'."
                f"{did_you_mean(node['type'], known)}"
            )


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


def unknown_model_types(model: Any, scope: str | None, place: str = "model") -> Iterator[str]:
    """A problem for each ``type`` within the model that looks like a slip of a registered name."""
    if isinstance(model, dict):
        name = model.get("type")
        if isinstance(name, str):
            tables = [
                names_in(where, scope, name) for where in (registry.MODELS, registry.TASK_UTILS)
            ]
            close = None if None in tables else close_name(name, set().union(*tables))
            if close:
                yield f"{place}.type: nothing is registered as '{name}'. Did you mean '{close}'?"
    children = model.items() if isinstance(model, dict) else enumerate(model)
    for key, child in children:
        if isinstance(child, dict | list):
            yield from unknown_model_types(child, scope, f"{place}.{key}")


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
