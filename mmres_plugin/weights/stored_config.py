"""Configs stored with weights: data of unknown origin, from which a model is built.

MMEngine imports what a dotted ``type`` names, so a config can name any function of any module as
the type of a layer. Here only what the OpenMMLab packages have registered may be named. A few of
their classes evaluate a text or read another config, so no value may look like either.
"""

import builtins
import re
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
# A call, an attribute of Python's own, or the path of a config, which is a program too.
PROGRAM = re.compile(r"\(|__|\.(py|ya?ml|json)$")


def check_types(cfg: dict[str, Any], path: object) -> None:
    """Check that a config from a file names only registered types and known scopes.

    Args:
        cfg: The config, as nested dicts and lists.
        path: The file, for the message.

    Raises:
        ValueError: If it names anything else, or has a value that may be run; nothing of it is
            imported.
    """
    known = set(_registered())
    refused = []
    for place, key, value in _entries(cfg, "config"):
        if key in ("default_scope", "_scope_"):
            fits = value in (None, *SCOPES)
        elif key == "type":
            fits = isinstance(value, str) and (value in known or _imports_nothing(value))
        elif key == "trust_remote_code":
            fits = not value
        else:
            fits = not isinstance(value, str) or not PROGRAM.search(value)
        if not fits:
            refused.append(f"{place}={value!r}")
    if refused:
        raise ValueError(
            f"{path} was refused: its config names what no OpenMMLab registry has, or what may be "
            f"run ({', '.join(refused)}), and nothing of it was run"
        )


def _imports_nothing(name: str) -> bool:
    """Whether ``name`` is plain and that of no module, as those of MMCV's operators are."""
    return name.isidentifier() and not hasattr(builtins, name) and find_spec(name) is None


def _registered() -> Iterator[str]:
    """All registered names, plain and with their scopes, which answer for their parents too."""
    for scope in SCOPES:
        if find_spec(scope):
            import_module(f"{scope}.registry")
    for root in REGISTRIES:
        for table in (root, *_descendants(root)):
            table.import_from_location()
            yield from table.module_dict
            parent = table
            while parent is not None:
                yield from (f"{table.scope}.{name}" for name in parent.module_dict)
                parent = parent.parent


def _descendants(parent: Registry) -> Iterator[Registry]:
    for child in parent.children.values():
        yield child
        yield from _descendants(child)


def _entries(node: Any, place: str) -> Iterator[tuple[str, object, Any]]:
    """Place, key and value of each entry in nested dicts and lists, except names of classes."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in ("metainfo", "classes"):
            continue
        here = f"{place}.{key}"
        yield here, key, value
        if isinstance(value, dict | list | tuple):
            yield from _entries(value, here)
