"""The checks before a run: everything that would fail later is said now, all of it at once."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import find_latest_checkpoint
from torch import nn

from ..dependencies import check_compiled_ops
from ..weights.pretrained import fitting_tensors
from .checkpoint_check import (
    beside,
    fit_problem,
    local_path,
    pretrained_modules,
    read_checkpoint,
)
from .class_check import wrong_classes
from .config_check import known_configs
from .data_check import missing_data
from .errors import UserError
from .type_check import refused_argument, unknown_arguments, unknown_model_types, unknown_types

LOOPS = {"train": ("train", "val"), "test": ("test",)}
NEEDED = {
    "train": ("model", "train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("model", "test_dataloader", "test_cfg", "test_evaluator"),
}
VALIDATION = ("val_dataloader", "val_cfg", "val_evaluator")
# Less of a model than this filled from a file is taken for the wrong file.
LEAST_SHARE = 0.5


def check(cfg: Config, task: str) -> None:
    """Raise one :class:`UserError` with everything that would make the run fail.

    Looked at: the registered names and their arguments, the data sets, the model, and the
    checkpoints that it starts or continues from. Only what the task needs is looked at: testing
    needs no training data.

    Args:
        cfg: The config as the runner will get it, ``load_from`` and ``resume`` included.
        task: ``'train'`` or ``'test'``.

    Raises:
        ValueError: unknown task.
        UserError: there are problems.
    """
    if task not in LOOPS:
        raise ValueError(f"task is {task!r}, must be one of {', '.join(map(repr, LOOPS))}")
    need_operators(cfg)
    loops = tuple(loop for loop in LOOPS[task] if cfg.get(f"{loop}_dataloader") is not None)
    problems = [
        *incomplete(cfg, task),
        *unknown_types(cfg, loops),
        *unknown_arguments(cfg, loops),
        *missing_data(cfg, loops),
        *wrong_classes(cfg, loops),
    ]
    model = None
    with collecting(problems):
        model = build_model(cfg)
    if model is not None and task == "train":
        for start in pretrained_modules(model):
            with collecting(problems):
                problems += pretrained_problems(*start)
    with collecting(problems):
        problems += checkpoint_problems(cfg, task, model)
    if problems:
        raise UserError(problems)


@contextmanager
def collecting(problems: list[str]) -> Iterator[None]:
    """Add the problems of a :class:`UserError` to the list and go on."""
    try:
        yield
    except UserError as error:
        problems += error.problems


def incomplete(cfg: Config, task: str) -> Iterator[str]:
    """A problem for each key of the config without which the task cannot run."""
    needed = NEEDED[task]
    if task == "train" and any(cfg.get(key) is not None for key in VALIDATION):
        needed = (*needed, *VALIDATION)
    for key in needed:
        if cfg.get(key) is None:
            yield f"the config has no '{key}', which is needed to {task}."
    scaling = cfg.get("auto_scale_lr") or {}
    if scaling.get("enable") and not scaling.get("base_batch_size"):
        yield (
            "--auto-scale-lr: the config does not say for which total batch size its learning "
            "rate is meant. Add auto_scale_lr=dict(base_batch_size=…)."
        )


def need_operators(cfg: Config) -> None:
    """Raise UserError if ``cfg`` is MMDetection's and MMCV has not the operators it needs."""
    if cfg.get("default_scope") == "mmdet":
        try:
            check_compiled_ops(cuda=torch.cuda.is_available())
        except ImportError as error:
            raise UserError([str(error)]) from error


def build_model(cfg: Config) -> nn.Module | None:
    """The model of ``cfg``, without weights; None if the config has none.

    Raises:
        UserError: it cannot be built: an unknown type, a wrong argument.
    """
    if cfg.get("model") is None:
        return None
    need_operators(cfg)
    scope = cfg.get("default_scope")
    settings = deepcopy(cfg.model)
    if cfg.get("data_preprocessor") is not None:  # as the runner does
        settings.setdefault("data_preprocessor", deepcopy(cfg.data_preprocessor))
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(settings)
    except Exception as error:  # constructors raise whatever they like
        slips = [
            *unknown_model_types(cfg.model, scope),
            *refused_argument(cfg.model, scope, str(error)),
        ]
        last = traceback.extract_tb(error.__traceback__)[-1]
        # The text of a KeyError is the representation of what it was given.
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        reason = str(reason) or type(error).__name__
        where = f"(raised in {last.filename}, line {last.lineno})"
        raise UserError(slips or [f"model: cannot be built. {reason}\n{where}"]) from error


def pretrained_problems(place: str, module: nn.Module, setting: Mapping) -> list[str]:
    """What keeps the part of the model at ``place`` from starting from its ``init_cfg`` file."""
    source = setting.get("checkpoint")
    without = f"To start without it: --cfg-options {place}.init_cfg=None"
    if not source:
        return [f"{place}.init_cfg: type='Pretrained' needs a checkpoint, the file.\n{without}"]
    path = local_path(source)
    if path is None:
        return []  # a URL: fetched by the runner
    known = {key: setting[key] for key in ("prefix", "allow_partial") if key in setting}
    try:
        fitting_tensors(module, str(path), **known)
    except (FileNotFoundError, ValueError) as error:
        return [f"{place}.init_cfg.checkpoint: {error}\n{without}{writer(path)}"]
    return []


def writer(path: Path) -> str:
    """The command that trains what is missing at ``path``, if it is from the default work dir."""
    config = known_configs(Path()).get(path.parent.name)
    return f"\nTo train it: python tools/train.py {config}" if config else ""


def latest_checkpoint(work_dir: Path) -> str | None:
    """The checkpoint that the runner will continue from; None if there is none yet.

    Raises:
        UserError: there are checkpoints, but the file that names the newest is lost or empty, as
            after a power cut. The runner would start anew and write over them.
    """
    latest = find_latest_checkpoint(work_dir) if work_dir.is_dir() else None
    if not latest and any(work_dir.glob("*.pth")):
        note = work_dir / "last_checkpoint"
        raise UserError(
            [
                f"--resume: {note} does not say which checkpoint is the newest.{beside(note)} "
                f"Name one: --resume {work_dir}/NAME.pth. To start anew, choose another --work-dir."
            ]
        )
    return latest or None


def checkpoint_problems(cfg: Config, task: str, model: nn.Module | None) -> list[str]:
    """What keeps the run from its ``load_from`` checkpoint (``--resume``, the one to test …)."""
    resume = task == "train" and cfg.get("resume")
    source = cfg.get("load_from")
    what = "--resume" if resume else "load_from" if task == "train" else "checkpoint"
    if resume and source is None:
        source = latest_checkpoint(Path(cfg.work_dir))
    path = local_path(source) if source else None
    if path is None:
        return []
    content = read_checkpoint(path, what)
    problems = []
    if resume and not {"meta", "message_hub", "optimizer"} <= content.keys():
        problems.append(
            f"{what}: {path} holds weights but not the state of a training. To start a new "
            f"training from them: --cfg-options load_from={path}"
        )
    if model is not None:
        share = LEAST_SHARE if what == "load_from" else 1
        problem, remark = fit_problem(model, content.get("state_dict", content), share)
        if problem:
            problems.append(f"{what}: {path} does not fit the config's model. {problem}")
        if remark:
            print_log(f"{what}: {path} fits in part. {remark}", logger="current")
    return problems
