"""The parts of a config: their keys, and what is registered under their ``type``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine import registry
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
    for step in as_list(dataset.get("pipeline")):
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


def as_list(value: Any) -> list:
    """A list of what is one thing, a list of things or nothing."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
