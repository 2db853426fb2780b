"""What a run will build from a config: read once, for all checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.registry import Registry
from torch import nn

from ..config import build_model, check_operators
from ..config_parts import as_list, dicts, look_up, scope_of
from ..engine.resume import checkpoint_folders
from .datasets import data_set

LOOPS = {"train": ("train", "val"), "test": ("test",)}
NEEDED = {
    "train": ("model", "train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("model", "test_dataloader", "test_cfg", "test_evaluator"),
}
VALIDATION = ("val_dataloader", "val_cfg", "val_evaluator")


@dataclass(frozen=True)
class Part:
    """A dict of the config from which a run builds an object.

    Attributes:
        key: Where it stands in the config.
        settings: The dict.
        registry: Where its ``type`` is looked up.
        scope: The scope in which it is.
        kind: What is registered under its ``type``; None if there is no such thing.
    """

    key: str
    settings: Mapping
    registry: Registry
    scope: str | None
    kind: Any

    @property
    def loop(self) -> str:
        """The loop that a data set or a metric is for: ``'train'``, ``'val'`` or ``'test'``."""
        return self.key.partition("_")[0]

    @property
    def is_wrapper(self) -> bool:
        """Whether a data set wraps others."""
        return "dataset" in self.settings or "datasets" in self.settings


class Setup:
    """What one task of a config needs and will build.

    Args:
        cfg: The config as the runner will get it, ``load_from`` and ``resume`` included.
        task: ``'train'`` or ``'test'``. Testing needs no training data.

    Attributes:
        task: The task.
        loops: The loops of the task that the config has.
        lacking: The keys that the task needs and the config lacks.
        settings: What the config has at its top level.
        scope: The default scope.
        loaders: Settings of the data loaders, by loop.
        parts: What is built outside the model.
        model_parts: All dicts within the model, of which some are built.
        metrics: The metrics, a subset of ``parts``.
        sets: The data sets that read files, within any wrappers.
        load_from: The checkpoint to load, if the config names one.
        resumes: Whether a training is to go on.
        folders: Where its checkpoints are.

    Raises:
        ValueError: For an unknown task.
        UserError: If MMCV lacks operators that the config needs.
    """

    def __init__(self, cfg: Config, task: str) -> None:
        if task not in LOOPS:
            raise ValueError(f"task is {task!r}, must be one of {', '.join(map(repr, LOOPS))}")
        check_operators(cfg)
        self.task = task
        self.cfg = cfg
        self.settings = dict(cfg.items())
        self.scope = self.settings.get("default_scope")
        self.loops = [k for k in LOOPS[task] if self.settings.get(f"{k}_dataloader") is not None]
        self.loaders = {loop: self.section(f"{loop}_dataloader") for loop in self.loops}
        self.lacking = [key for key in self._needed() if self.settings.get(key) is None]
        self.parts = list(self._parts())
        self.metrics = [
            part for part in self.parts if part.key.split(".")[0].endswith("_evaluator")
        ]
        self.sets = [
            data_set(part.key, part.settings, part.kind, part.scope)
            for part in self.parts
            if part.registry is registry.DATASETS and not part.is_wrapper
        ]
        model = dicts(self.section("model"), "model")
        self.model_parts = [self._part(key, node, registry.MODELS) for key, node in model]
        self.load_from = self.settings.get("load_from")
        self.resumes = task == "train" and bool(self.settings.get("resume"))
        self.folders = checkpoint_folders(cfg) if self.resumes else []

    def section(self, key: str) -> Mapping:
        """The dict at the top level of the config under ``key``; an empty one if there is none."""
        return self.settings.get(key) or {}

    @property
    def checkpoint_hook(self) -> Mapping | None:
        """Settings of the hook that saves checkpoints; None if the config takes it out."""
        return self.section("default_hooks").get("checkpoint", {})

    @cached_property
    def model(self) -> nn.Module | None:
        """The model, without weights; None if the config has none.

        Raises:
            UserError: If it cannot be built.
        """
        return build_model(self.cfg)

    def key_of(self, name: str, module: nn.Module) -> str:
        """Where the config has the settings of the module ``name`` of its model.

        Wrappers build one config under several other names: the ``detector`` of a semi-supervised
        detector is its ``student`` and its ``teacher``.
        """
        if any(part.key == f"model.{name}" for part in self.model_parts):
            return f"model.{name}"
        same = [part.key for part in self.model_parts if part.kind is type(module)]
        return same[0] if len(same) == 1 else f"{type(module).__name__} (model.{name})"

    def _needed(self) -> tuple[str, ...]:
        needed = NEEDED[self.task]
        if self.task == "train" and any(self.settings.get(key) is not None for key in VALIDATION):
            needed = (*needed, *VALIDATION)
        return needed

    def _part(self, key: str, settings: Mapping, where: Registry) -> Part:
        scope = scope_of(settings, self.scope)
        return Part(key, settings, where, scope, look_up(settings.get("type"), where, scope))

    def _parts(self) -> Iterator[Part]:
        for key, settings, where in self._typed():
            if isinstance(settings, Mapping):
                yield self._part(key, settings, where)

    def _typed(self) -> Iterator[tuple[str, Any, Registry]]:
        """Key, settings and registry of what a run builds outside its model, None for nothing."""
        for loop, loader in self.loaders.items():
            yield from self._data(f"{loop}_dataloader.dataset", loader.get("dataset"))
            yield f"{loop}_dataloader.sampler", loader.get("sampler"), registry.DATA_SAMPLERS
            yield f"{loop}_cfg", self.section(f"{loop}_cfg"), registry.LOOPS
            yield from self._evaluator(f"{loop}_evaluator")
        for name, hook in self.section("default_hooks").items():
            yield f"default_hooks.{name}", hook, registry.HOOKS
        yield from self._several("custom_hooks", registry.HOOKS)
        visualizer = self.section("visualizer")
        yield "visualizer", visualizer, registry.VISUALIZERS
        for index, backend in enumerate(as_list(visualizer.get("vis_backends"))):
            yield f"visualizer.vis_backends.{index}", backend, registry.VISBACKENDS
        if "train" in self.loops:
            wrapper = self.section("optim_wrapper")
            yield "optim_wrapper", wrapper, registry.OPTIM_WRAPPERS
            yield "optim_wrapper.optimizer", wrapper.get("optimizer"), registry.OPTIMIZERS
            yield from self._several("param_scheduler", registry.PARAM_SCHEDULERS)

    def _several(self, key: str, where: Registry) -> Iterator[tuple[str, Any, Registry]]:
        for index, settings in enumerate(as_list(self.settings.get(key))):
            yield f"{key}.{index}", settings, where

    def _data(self, key: str, settings: Any) -> Iterator[tuple[str, Any, Registry]]:
        """A data set with its pipeline, and the data sets that it wraps."""
        if not isinstance(settings, Mapping):
            return
        yield key, settings, registry.DATASETS
        for index, transform in enumerate(as_list(settings.get("pipeline"))):
            yield f"{key}.pipeline.{index}", transform, registry.TRANSFORMS
        yield from self._data(f"{key}.dataset", settings.get("dataset"))
        for index, inner in enumerate(as_list(settings.get("datasets"))):
            yield from self._data(f"{key}.datasets.{index}", inner)

    def _evaluator(self, key: str) -> Iterator[tuple[str, Any, Registry]]:
        """An evaluator, or each metric of a list."""
        evaluator = self.settings.get(key)
        if isinstance(evaluator, Mapping):
            where = registry.EVALUATOR if "metrics" in evaluator else registry.METRICS
            yield key, evaluator, where
        else:
            yield from self._several(key, registry.METRICS)
