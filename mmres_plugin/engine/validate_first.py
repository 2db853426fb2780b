"""The first seconds of a training show the mistakes of its validation."""

from copy import deepcopy
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner, ValLoop, autocast
from mmengine.structures import BaseDataElement

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
        problem = endless(runner) or lonely_image(runner)
        if problem:
            raise UserError(problem, "Nothing was started:")
        loop = runner.val_loop
        over = getattr(runner.train_loop, "stop_training", False)
        if type(loop) is ValLoop and not over:  # loops of other types have own ways
            self.stage = "in the first batch of the validation"
            with unchanged_random_state():
                compare_names(runner, first_metrics(runner, loop))
        self.stage = "in the first step"

    def before_test(self, runner: Runner) -> None:
        """A test has nothing to go on with after an error."""
        self.stage = "in the test"

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """From now on, errors are not those of a wrong start."""
        self.stage = ""


def endless(runner: Runner) -> str | None:
    """A sentence if an epoch or a validation would never end."""
    loaders = {}
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        loaders["train"] = runner.train_dataloader
    if runner.val_loop is not None:
        loaders["val"] = runner.val_dataloader
    for key, loader in loaders.items():
        sampler = getattr(loader.batch_sampler, "sampler", None)
        if ENDLESS & {cls.__name__ for cls in type(sampler).__mro__}:
            or_else = ", or train by iterations (train_cfg.type='IterBasedTrainLoop')"
            return (
                f"{key}_dataloader.sampler: {type(sampler).__name__} never ends: use "
                f"DefaultSampler{or_else if key == 'train' else ''}"
            )
    return None


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
    before = deepcopy(model.state_dict())  # statistics of norms change
    try:
        with unchanged_random_state(), torch.no_grad():
            batch = loader.collate_fn([loader.dataset[0]])
            model(**model.data_preprocessor(batch, training=True), mode="loss")
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return (
            f"train_dataloader: the last batch of an epoch has one image ({len(batches.sampler)} "
            f"images in batches of {batches.batch_size}), and a batch norm after maps of one pixel "
            "needs two. Leave that batch out: --cfg-options train_dataloader.drop_last=True"
        )
    finally:
        model.load_state_dict(before)
    return None


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
            names = set().union(*map(coco_names, metrics))
    for metric in metrics:
        metric.results.clear()
    return names


def coco_names(metric: Any) -> set[str]:
    """The names of what MMDetection's ``CocoMetric`` computes with its usual settings, or none."""
    if metric.metric_items or metric.classwise or "proposal" in "".join(metric.metrics):
        return set()
    items = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
    return {f"{metric.prefix}/{kind}_{item}" for kind in metric.metrics for item in items}


def compare_names(runner: Runner, names: set[str]) -> None:
    """Look whether the metrics that hooks and schedulers need are among ``names``, if any.

    Raises:
        UserError: For one with which the first validation would fail.
    """
    wanted: list[tuple[str, str]] = []
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            best = [name for name in hook.save_best or () if name != "auto"]
            wanted += [("default_hooks.checkpoint.save_best", name) for name in best]
        elif isinstance(hook, EarlyStoppingHook) and hook.strict:
            wanted.append(("the monitor of EarlyStoppingHook", hook.monitor))
    schedulers: Any = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = [one for group in schedulers.values() for one in group]
    for one in schedulers:
        if hasattr(one, "monitor"):
            wanted.append((f"the monitor of {type(one).__name__}", one.monitor))
    problems = [
        f"{what} is {name!r}, which the evaluator does not compute.{did_you_mean(name, names)} "
        f"There are: {shortened(sorted(names), 12)}"
        for what, name in wanted
        if names and name not in names
    ]
    if problems:
        raise UserError(problems, "Nothing was started:")
