"""A runner for one step of training and one of validation."""

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from ..config_parts import as_list, dicts
from ..engine.bad_images import NameBadImages
from ..errors import UserError, did_you_mean, shortened
from ..weights.pretrained import is_pretrained
from .datasets import Built
from .places import locating_errors
from .watch import SIDE, watch

NAME = "rehearsal"
PASSED = (  # what the runner gets as the config has it
    *("val_cfg", "val_evaluator", "train_cfg", "optim_wrapper", "param_scheduler", "randomness"),
    *("auto_scale_lr", "default_hooks", "custom_hooks", "env_cfg", "log_processor"),
    "default_scope",
)


class Rehearsal(Runner):
    """A runner that trains for one step, loads no checkpoint and leaves nothing behind."""

    batches = 1  # of an epoch of the run
    init_weights = False

    def build_train_loop(self, loop: Any) -> BaseLoop:
        loop = super().build_train_loop(loop)
        if loop.max_iters < 1:
            raise ValueError("there is nothing to train: max_epochs or max_iters must be 1 or more")
        if isinstance(loop, EpochBasedTrainLoop):
            loop._max_iters = loop.max_epochs * self.batches
        return loop

    def _init_model_weights(self) -> None:
        """Cut the run to one step, now that the schedulers have seen its length."""
        if self.init_weights:
            super()._init_model_weights()
        loop: Any = self.train_loop
        loop._max_epochs = loop._max_iters = loop.val_begin = 1

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        signature(Runner.save_checkpoint).bind(self, out_dir, filename, *args, **kwargs)
        if str(out_dir) == self.work_dir:
            torch.save({"meta": {}, "state_dict": {}}, Path(out_dir) / filename)

    def _maybe_compile(self, target: str) -> None: ...
    def _log_env(self, env_cfg: dict) -> None: ...
    def dump_config(self) -> None: ...


class CheckNumbers(Hook):
    """Raises an error where the first step has losses or weights that are not finite."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        numbers = {name: one for name, one in (outputs or {}).items() if torch.is_tensor(one)}
        wrong = [name for name, number in numbers.items() if not number.isfinite().all()]
        if wrong:
            raise UserError([f"model: not a finite number in the first step: {shortened(wrong)}."])
        if not all(parameter.isfinite().all() for parameter in runner.model.parameters()):
            raise UserError(["optim_wrapper: the first step makes weights infinite or NaN."])

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        for metric in runner.val_loop.evaluator.metrics:
            if hasattr(metric, "img_ids"):  # else COCO's looks at all images, for half a minute
                metric.img_ids = [sample.img_id for sample in outputs or ()]

    def after_val_epoch(self, runner, metrics=None) -> None:
        for part in (*runner.hooks, *as_list(runner.param_schedulers)):
            wanted = as_list(getattr(part, "save_best", getattr(part, "monitor", None)))
            wrong = [name for name in wanted if name != "auto" and name not in (metrics or {})]
            if metrics and wrong:
                said = f"save_best or monitor is {wrong[0]!r}, which no metric reports."
                meant = f"{did_you_mean(wrong[0], metrics)} There are: {', '.join(metrics)}."
                raise UserError([f"{type(part).__name__}: {said}{meant}"])


def rehearse(cfg: Config, model: nn.Module, datasets: dict[str, Built]) -> None:
    """Train and validate for one step.

    Args:
        cfg: A complete config for training.
        model: Its model, which is changed.
        datasets: From :func:`build_datasets`, for ``'train'`` and, if the run validates, ``'val'``.

    Raises:
        UserError: If anything goes wrong; the message names the place in the config.
    """
    cfg = deepcopy(cfg)
    for module in model.modules():  # an untrained detector must find something to evaluate
        for _, node in dicts(getattr(module, "test_cfg", None) or {}, ""):
            if "score_thr" in node:
                node["score_thr"] = 0.0
    images = watch(model)
    try:
        one_step(cfg, model, datasets)
    except UserError:  # some networks need larger images, or weights drawn in their own way
        images["limit"] = 3 * SIDE
        for module in model.modules():
            settings = as_list(getattr(module, "init_cfg", None))
            if any(isinstance(one, dict) and is_pretrained(one) for one in settings):
                setattr(module, "init_cfg", None)  # noqa: B010
        one_step(cfg, model, datasets, init_weights=True)


def one_step(
    cfg: Config, model: nn.Module, datasets: dict[str, Built], init_weights: bool = False
) -> None:
    """One step of training and, with data for it, one of validation."""
    with tempfile.TemporaryDirectory() as folder, quiet(), locating_errors(cfg, model=model):
        loaders, batches = {}, {}
        for loop, dataset in datasets.items():
            with (
                DefaultScope.overwrite_default_scope(cfg.get("default_scope")),
                locating_errors(cfg, loop),
            ):
                loaders[f"{loop}_dataloader"], batches[loop] = one_batch(cfg, loop, dataset)
        keys = PASSED if "val" in datasets else PASSED[2:]
        runner = Rehearsal(
            model=model,
            work_dir=folder,
            log_level="ERROR",
            visualizer=Visualizer.get_instance(NAME),
            experiment_name=NAME,
            cfg=cfg,
            **loaders,
            **{key: cfg[key] for key in keys if cfg.get(key) is not None},
        )
        runner.batches, runner.init_weights = batches["train"], init_weights
        runner.register_hook(NameBadImages())
        runner.register_hook(CheckNumbers())
        runner.train()


def one_batch(cfg: Config, loop: str, dataset: Built) -> tuple[DataLoader, int]:
    """The first batch of the loader of ``loop``, cut to two images, and how many it has."""
    loader = Runner.build_dataloader({**cfg[f"{loop}_dataloader"], "dataset": dataset}, seed=0)
    first = next(iter(loader.batch_sampler or ()), None)
    if not first:
        images = f"Its data set has {len(dataset.dataset)} images"
        options = f"batch_size is {loader.batch_size}, drop_last {loader.drop_last}"
        raise UserError([f"{loop}_dataloader: gives no batch. {images}, {options}."])
    if not isinstance(loader.num_workers, int):
        workers = f"{loop}_dataloader.num_workers is {loader.num_workers}"
        raise UserError([f"{workers}, must be a whole number."])
    one = DataLoader(loader.dataset, 2, sampler=first[:2], collate_fn=loader.collate_fn)
    return one, len(loader)


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing that the run will print again, and leave nothing that the run would find."""
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for kind in (MMLogger, MessageHub, DefaultScope, Visualizer):
            for name in [name for name in kind._instance_dict if name.startswith(NAME)]:
                del kind._instance_dict[name]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
