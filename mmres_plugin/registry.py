"""The plugin's model registry, and how a class gets its two names.

An OpenMMLab registry looks up a name in itself and then in its parents, never in a sibling. So each
network is registered twice:

- in our child of MMEngine's root registry, so that every scope finds
  ``type='mmres_plugin.SReResNet'``; the scope alone imports the plugin;
- in the root, so that the plain ``type='SReResNet'`` works once the plugin is imported
  (``custom_imports``). A name that MMPretrain or MMDetection also has, such as ``ResNeXt``, still
  means their class in their scope.
"""

from typing import TypeVar

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry

Class = TypeVar("Class", bound=type)

MODELS = Registry(
    "model", parent=ROOT_MODELS, scope="mmres_plugin", locations=["mmres_plugin.models"]
)
BACKBONES: dict[str, type] = {}  # those in MODELS, by name; it has necks and plugins as well


def register(cls: Class) -> Class:
    """Register ``cls`` in the plugin's registry and, if its name is free, in the root.

    Registering a class again, as a module reload does, replaces the earlier one. A class of another
    project with the same name in the root stays.
    """
    for registry in (MODELS, ROOT_MODELS):
        holder = registry.module_dict.get(cls.__name__)
        if holder is None or holder.__module__ == cls.__module__:
            registry.register_module(module=cls, force=holder is not None)
    return cls


def register_backbone(cls: Class) -> Class:
    """Register a backbone under its two names, and list it in :data:`BACKBONES`."""
    BACKBONES[cls.__name__] = cls
    return register(cls)
