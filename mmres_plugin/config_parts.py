"""The parts of a config: their keys, and what is registered under their ``type``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DefaultScope, Registry


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
    """All names that the registry knows in ``scope``, or in the scope that ``name`` starts with.

    If there is no such scope, those of all scopes, which may explain a slip in it.
    """
    with DefaultScope.overwrite_default_scope(scope), where.switch_scope_and_registry(None) as own:
        prefix, _, _ = name.rpartition(".")
        if prefix:
            scopes = own.root.children
            some = {prefix: scopes[prefix]} if prefix in scopes else scopes
            return {f"{one}.{known}" for one in some for known in some[one].module_dict}
        known: set[str] = set()
        while own is not None:
            known.update(own.module_dict)
            own = own.parent
        return known


def scope_of(node: Mapping, default: str | None) -> str | None:
    """The scope in which the ``type`` of ``node`` is looked up: its own, or the config's."""
    return node.get("_scope_", default)


def step_of(dataset: Mapping, name: str, scope: str | None) -> Mapping | None:
    """The step in the pipeline of a data set whose class, or a parent of it, has this name."""
    for step in dataset.get("pipeline") or []:
        if isinstance(step, Mapping):
            kind = look_up(step.get("type"), registry.TRANSFORMS, scope_of(step, scope))
            if name in {parent.__name__ for parent in getattr(kind, "__mro__", ())}:
                return step
    return None


def dicts(node: Any, key: str) -> Iterator[tuple[str, dict]]:
    """All dicts within ``node``, with their keys in the config, of which ``key`` is the first."""
    if isinstance(node, dict):
        yield key, node
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(child, dict | list | tuple):
            yield from dicts(child, f"{key}.{name}")


def datasets(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    """Key and config of the data sets of ``loops``, wrappers and what they wrap."""

    def within(node: Any, key: str) -> Iterator[tuple[str, dict]]:
        if isinstance(node, dict):
            yield key, node
            yield from within(node.get("dataset"), f"{key}.dataset")
            for index, inner in enumerate(node.get("datasets") or []):
                yield from within(inner, f"{key}.datasets.{index}")

    for loop in loops:
        loader = cfg.get(f"{loop}_dataloader") or {}
        yield from within(loader.get("dataset"), f"{loop}_dataloader.dataset")


def innermost(loader: Mapping | None) -> dict:
    """The settings of the data set in the settings of a loader, without wrappers; {} if none."""
    dataset = (loader or {}).get("dataset") or {}
    while "dataset" in dataset or "datasets" in dataset:
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    return dataset


def classes_of(dataset: Mapping, kind: type | None) -> list[str] | str | None:
    """Names of the classes of a data set, as its config or its class gives them.

    A text where a list is due is returned as it is.
    """
    default = getattr(kind, "METAINFO", None) or {}
    metainfo = dataset.get("metainfo")
    given = metainfo if isinstance(metainfo, Mapping) else {}
    classes = given.get("classes", dataset.get("classes"))
    if isinstance(classes, str) and Path(classes).expanduser().is_file():
        return list_from_file(Path(classes).expanduser())
    if classes is None:  # heads are for things
        classes = default.get("thing_classes") or default.get("classes")
    if isinstance(classes, list | tuple | set):
        return list(classes)
    return classes if isinstance(classes, str) else None


def type_name(node: Mapping) -> str:
    """The ``type`` of ``node`` without its scope, or ``''``; configs may have a class as type."""
    kind = node.get("type", "")
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def metrics(cfg: Config, loop: str) -> list[tuple[str, dict]]:
    """Key and config of each metric of ``loop``."""
    key, evaluator = f"{loop}_evaluator", cfg.get(f"{loop}_evaluator")
    if isinstance(evaluator, dict):
        return [(key, evaluator)]
    return [(f"{key}.{index}", one) for index, one in enumerate(as_list(evaluator))]


def typed_parts(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, Any, Registry]]:
    """The dicts of the config that the runner builds, with their keys and registries."""
    for key, dataset in datasets(cfg, loops):
        yield key, dataset, registry.DATASETS
        for index, transform in enumerate(dataset.get("pipeline") or []):
            yield f"{key}.pipeline.{index}", transform, registry.TRANSFORMS
    for loop in loops:
        for key, metric in metrics(cfg, loop):
            kind = registry.METRICS if "metrics" not in metric else registry.EVALUATOR
            yield key, metric, kind
        yield f"{loop}_cfg", cfg.get(f"{loop}_cfg"), registry.LOOPS
        sampler = (cfg.get(f"{loop}_dataloader") or {}).get("sampler")
        yield f"{loop}_dataloader.sampler", sampler, registry.DATA_SAMPLERS
    for name, hook in (cfg.get("default_hooks") or {}).items():
        yield f"default_hooks.{name}", hook, registry.HOOKS
    for index, hook in enumerate(as_list(cfg.get("custom_hooks"))):
        yield f"custom_hooks.{index}", hook, registry.HOOKS
    visualizer = cfg.get("visualizer") or {}
    yield "visualizer", visualizer, registry.VISUALIZERS
    for index, backend in enumerate(as_list(visualizer.get("vis_backends"))):
        yield f"visualizer.vis_backends.{index}", backend, registry.VISBACKENDS
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
