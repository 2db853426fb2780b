"""Configs stored with weights: data of unknown origin, from which a model is built.

MMEngine imports what a dotted ``type`` names, so a config can name any function of any module as
the type of a layer. Here only what the OpenMMLab packages have registered may be named.
"""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine import registry
from mmengine.registry import Registry

SCOPES = ("mmengine", "mmpretrain", "mmdet", "mmres_plugin")
REGISTRIES = (
    registry.MODELS,
    registry.TASK_UTILS,
    registry.WEIGHT_INITIALIZERS,
    registry.TRANSFORMS,
    registry.DATASETS,
)
# Operators of MMCV that test settings name; they are in no registry.
NMS = {"nms", "soft_nms", "nms_match", "nms_rotated", "nms_quadri"}


def check_types(cfg: dict[str, Any], path: object) -> None:
    """Check that a config from a file names only registered types and known scopes.

    Args:
        cfg: The config, as nested dicts and lists.
        path: The file, for the message.

    Raises:
        ValueError: If it names anything else; nothing of it is imported.
    """
    known = NMS | set(_registered())
    refused = [
        f"{place}={value!r}"
        for place, key, value in _entries(cfg, "config")
        if (key == "type" and value not in known)
        or (key in ("default_scope", "_scope_") and value not in (None, *SCOPES))
    ]
    if refused:
        raise ValueError(
            f"{path} was refused: its config names what no OpenMMLab registry has "
            f"({', '.join(refused)}), and nothing of it was run"
        )


def _registered() -> Iterator[str]:
    """All registered names, plain and with their scopes."""
    for scope in SCOPES:
        if find_spec(scope):
            import_module(f"{scope}.registry")
    for root in REGISTRIES:
        for table in (root, *_descendants(root)):
            table.import_from_location()
            yield from table.module_dict
            yield from (f"{table.scope}.{name}" for name in table.module_dict)


def _descendants(parent: Registry) -> Iterator[Registry]:
    for child in parent.children.values():
        yield child
        yield from _descendants(child)


def _entries(node: Any, place: str) -> Iterator[tuple[str, object, Any]]:
    """Place, key and value of each entry in nested dicts and lists."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        here = f"{place}.{key}"
        yield here, key, value
        if isinstance(value, dict | list | tuple):
            yield from _entries(value, here)
