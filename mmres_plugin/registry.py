"""The plugin's model registry, and how a backbone gets its two names.

A lookup in an OpenMMLab registry goes to the registry itself and then up to its parents, never to
a sibling. So a class is registered twice:

- in our own child of MMEngine's root registry: ``type='mmres_plugin.SReResNet'`` is found from
  every scope, and the scope alone imports the plugin;
- in the root: the plain ``type='SReResNet'`` works once the plugin is imported
  (``custom_imports``). A name that MMPretrain or MMDetection also has, such as ``ResNeXt``, keeps
  meaning theirs within their scope.
"""

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry

MODELS = Registry(
    "model", parent=ROOT_MODELS, scope="mmres_plugin", locations=["mmres_plugin.models"]
)


def register_backbone(cls: type) -> type:
    """Register ``cls`` in the plugin's registry and, where the name is free, in the root.

    Registering the same class again, as a module reload does, replaces the earlier one; a class
    of another project that holds the name in the root is left alone.
    """
    for registry in (MODELS, ROOT_MODELS):
        holder = registry.module_dict.get(cls.__name__)
        if holder is None or holder.__module__ == cls.__module__:
            registry.register_module(module=cls, force=holder is not None)
    return cls
