"""The first seconds of a training show the mistakes of its validation."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner, ValLoop, autocast
from mmengine.structures import BaseDataElement
from torch import nn

from ..errors import UserError, did_you_mean, shortened
from .random_state import unchanged_random_state

ENDLESS = {"InfiniteSampler", "MultiSourceSampler"}  # and their subclasses


class ValidateFirst(Hook):
    """Validates on one batch of each data set before the first step, and compares names of metrics.

    Attributes:
        stage: What the run is doing, for the message about an error, until the first step is done.
    """

    priority = "LOWEST"  # after the model has its weights and the loaders are ready
    stage = "while the runner was built"

    def before_train(self, runner: Runner) -> None:
        """Run the batches, as the validation would; nothing else changes."""
        problem = endless_epoch(runner) or lonely_image(runner)
        if problem:
            raise UserError([problem], "Nothing was started:")
        loop = runner.val_loop
        over = getattr(runner.train_loop, "stop_training", False)
        if type(loop) is ValLoop and not over:  # loops of other types have own ways
            self.stage = "in the first batch of the validation"
            with unchanged_random_state():
                compare_names(runner, first_metrics(runner, loop))
        self.stage = "in the first step"

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """From now on, errors are not those of a wrong start."""
        self.stage = ""


def endless_epoch(runner: Runner) -> str | None:
    """A sentence if the first epoch would never end."""
    sampler: Any = getattr(runner.train_dataloader.batch_sampler, "sampler", None)
    names = {cls.__name__ for cls in type(sampler).__mro__}
    if not isinstance(runner.train_loop, EpochBasedTrainLoop) or not names & ENDLESS:
        return None
    return (
        f"train_dataloader.sampler: {type(sampler).__name__} never ends, so neither does an epoch: "
        "use DefaultSampler, or train by iterations (train_cfg.type='IterBasedTrainLoop')"
    )


def lonely_image(runner: Runner) -> str | None:
    """A sentence if the last batch of an epoch has one image, and a batch norm needs two."""
    loader: Any = runner.train_dataloader
    batches: Any = loader.batch_sampler
    plain = isinstance(runner.train_loop, EpochBasedTrainLoop) and hasattr(batches, "drop_last")
    if not plain or batches.drop_last or len(batches.sampler) % batches.batch_size != 1:
        return None
    model: Any = getattr(runner.model, "module", runner.model)
    if not type(model).__module__.startswith("mmpretrain.models.classifiers."):
        return None  # detectors have no maps of one pixel
    model.train()
    norms = [(name, one) for name, one in model.named_modules() if isinstance(one, nn.BatchNorm2d)]
    single: list[str] = []

    def look(name: str, norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        single.extend([name] if inputs[0].numel() == inputs[0].shape[1] else [])

    hooks = [
        norm.register_forward_pre_hook(partial(look, name)) for name, norm in norms if norm.training
    ]
    model.eval()  # in which statistics stay as they are
    with unchanged_random_state(), torch.no_grad():
        data = model.data_preprocessor(loader.collate_fn([loader.dataset[0]]), training=False)
        model(data["inputs"], mode="tensor")
    for hook in hooks:
        hook.remove()
    if not single:
        return None
    return (
        f"train_dataloader: the last batch of an epoch has one image ({len(batches.sampler)} images"
        f" in batches of {batches.batch_size}), and the maps at {single[0]} have one pixel: batch "
        "norm needs more than one value. Leave that batch out: --cfg-options "
        "train_dataloader.drop_last=True"
    )


def first_metrics(runner: Runner, loop: ValLoop) -> set[str]:
    """Evaluate one batch of each data set; the names of the metrics, empty if nobody can know them.

    Metrics may look at all images at once, so only those of MMPretrain are asked to evaluate a part
    of them.
    """
    loader, metrics = loop.dataloader, loop.evaluator.metrics
    batches = [next(iter(loader.batch_sampler or [[0]]))]
    for start in getattr(loader.dataset, "cumulative_sizes", [])[:-1]:  # of concatenated data sets
        batches.append([start])
    model: Any = runner.model
    model.eval()
    for indices in batches:
        batch = loader.collate_fn([loader.dataset[index] for index in indices])
        with torch.no_grad(), autocast(enabled=loop.fp16):
            outputs = model.val_step(batch)
        if isinstance(outputs[-1], BaseDataElement) and outputs[-1].keys() == ["loss"]:
            outputs = outputs[:-1]
        loop.evaluator.process(data_samples=outputs, data_batch=batch)
    names: set[str] = set()
    if type(loop.evaluator) is Evaluator:
        if all(type(metric).__module__.startswith("mmpretrain.") for metric in metrics):
            count = runner.world_size * sum(map(len, batches))
            names = set(loop.evaluator.evaluate(count))
        elif all(type(metric).__name__ == "CocoMetric" for metric in metrics):
            names = {name for metric in metrics for name in coco_names(metric)}
    for metric in metrics:
        metric.results.clear()
    return names


def coco_names(metric: Any) -> Iterator[str]:
    """The names of what MMDetection's ``CocoMetric`` computes."""
    boxes = metric.metric_items or ["mAP", *(f"mAP_{kind}" for kind in ("50", "75", "s", "m", "l"))]
    rates = [f"AR{kind}" for kind in ("@100", "@300", "@1000", "_s@1000", "_m@1000", "_l@1000")]
    for kind in metric.metrics:
        names = [f"{kind}_{item}" for item in boxes]
        if kind.startswith("proposal"):
            names = [*(metric.metric_items or rates), *(f"AR@{n}" for n in metric.proposal_nums)]
        if metric.classwise:
            names += [f"{name}_precision" for name in metric.dataset_meta["classes"]]
        yield from (f"{metric.prefix}/{name}" if metric.prefix else name for name in names)


def compare_names(runner: Runner, names: set[str]) -> None:
    """Look whether the metrics that hooks and schedulers wait for are among ``names``.

    Raises:
        UserError: For one with which the first validation would fail.
    """
    wanted: list[tuple[str, str, bool]] = []  # place, name, whether its lack is an error
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            best = [name for name in hook.save_best or () if name != "auto"]
            wanted += [("default_hooks.checkpoint.save_best", name, True) for name in best]
        elif isinstance(hook, EarlyStoppingHook):
            wanted.append(("the monitor of EarlyStoppingHook", hook.monitor, hook.strict))
    schedulers: Any = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [one for group in schedulers.values() for one in group]
    for one in schedulers:
        if hasattr(one, "monitor"):
            wanted.append((f"the monitor of {type(one).__name__}", one.monitor, True))
    problems = []
    for place, name, fails in wanted if names else ():
        if name not in names:
            text = (
                f"{place} is {name!r}, which the evaluator does not compute."
                f"{did_you_mean(name, names)} There are: {shortened(sorted(names), 12)}"
            )
            if fails:
                problems.append(text)
            else:
                runner.logger.warning(f"{text}. So it will never stop the training")
    if problems:
        raise UserError(problems, "Nothing was started:")
