"""Is a checkpoint there, whole, safe to open, and does it fit the model?"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from ..config import known_configs
from ..engine.resume import TRAINING_STATE, latest_checkpoint
from ..errors import UserError, collecting, user_error
from ..weights.files import find_meta, is_address, open_checkpoint
from ..weights.fit import fit_problem
from ..weights.image_settings import (
    ImageSettings,
    expected_settings,
    preprocessor_problem,
    style_problem,
)
from ..weights.pretrained import fitting_tensors, is_pretrained


def pretrained_problems(cfg: Config, model: nn.Module) -> Iterator[str]:
    """Why parts of ``model`` cannot start from the files in their ``init_cfg``.

    Weights for other images or of another style are a warning: they load and can be trained.
    """
    preprocessor = cfg.model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    for name, module in model.named_modules():
        settings = getattr(module, "init_cfg", None)
        for setting in settings if isinstance(settings, list) else [settings]:
            if isinstance(setting, dict) and is_pretrained(setting):
                place = f"model.{name}".rstrip(".")
                problems: list[str] = []
                with collecting(problems):
                    settings = check_start(module, setting, place)
                    if is_address(setting["checkpoint"]):  # else the backbone says it when it loads
                        warn(place, style_problem(settings, module))
                    warn(place, preprocessor_problem(settings, preprocessor))
                yield from problems


def warn(place: str, problem: str | None) -> None:
    """Log what may well be a mistake."""
    if problem:
        print_log(f"{place}.init_cfg: {problem}", logger="current", level=logging.WARNING)


def check_start(module: nn.Module, setting: Mapping[str, Any], place: str) -> ImageSettings | None:
    """What images the file in the ``init_cfg`` of ``module`` is for, if that is known.

    Raises:
        UserError: If ``module`` cannot start from it.
    """
    source = setting.get("checkpoint")
    without = f"\nTo start without it: --cfg-options {place}.init_cfg=None"
    if not source:
        problem = f"{place}.init_cfg: type='Pretrained' needs a checkpoint, the file.{without}"
        raise UserError([problem])
    with user_error(f"{place}.init_cfg.checkpoint", without):
        if is_address(source):
            return expected_settings((), source)  # the runner fetches it
    known = {key: setting[key] for key in ("prefix", "allow_partial") if key in setting}
    trained_by = known_configs(Path()).get(Path(source).parent.name)
    command = f"\nTo train it: python tools/train.py {trained_by}" if trained_by else ""
    with user_error(f"{place}.init_cfg.checkpoint", without + command):
        return fitting_tensors(module, source, **known)[2]


def checkpoint_problems(cfg: Config, task: str, model: nn.Module | None) -> Iterator[str]:
    """Why the run cannot load its checkpoint (``load_from``, ``--resume``, the one to test)."""
    resume = task == "train" and cfg.get("resume")
    source = cfg.get("load_from")
    what = "--resume" if resume else "load_from" if task == "train" else "checkpoint"
    if resume and source is None:
        latest = latest_checkpoint(Path(cfg.work_dir))
        source = str(latest) if latest else None
    if not source:
        return
    with user_error(what):
        source = str(source)
        if is_address(source):
            return  # the runner fetches it
    content = open_checkpoint(source, what)
    if resume and not content.keys() >= TRAINING_STATE:
        yield (
            f"{what}: {source} holds weights but not the state of a training. To start a new "
            f"training from them: --cfg-options load_from={source}"
        )
    elif resume:
        say_if_complete(cfg, find_meta(content), source)
    if model is not None:
        state = content.get("state_dict", content)
        problem, remark = fit_problem(model, state, partial=what == "load_from")
        if problem:
            yield f"{what}: {source} does not fit the config's model. {problem}"
        if remark:
            print_log(f"{what}: {source} fits in part. {remark}", logger="current")


def say_if_complete(cfg: Config, meta: Mapping[str, Any], source: str) -> None:
    """Warn where ``source`` has reached the end of the training, which then ends without a step."""
    for unit, key in (("epoch", "max_epochs"), ("iter", "max_iters")):
        last = (cfg.get("train_cfg") or {}).get(key)
        if last and meta.get(unit, 0) >= last:
            print_log(
                f"--resume: nothing is left to train. {source} is of {unit} {meta[unit]}, the last "
                f"of train_cfg.{key}={last}. To continue: --cfg-options train_cfg.{key}={2 * last}",
                logger="current",
                level=logging.WARNING,
            )
