"""Is a checkpoint there, whole, safe to open, and does it fit the model?"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import (
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)
from torch import nn

from ..config import known_configs
from ..engine.resume import TRAINING_STATE, latest_checkpoint
from ..errors import UserError, collecting, did_you_mean, user_error
from ..hub import OWN_SCHEME
from ..weights.by_name import load_by_name
from ..weights.files import find_meta, is_address, open_checkpoint
from ..weights.fit import ENOUGH, compare
from ..weights.image_settings import (
    ImageSettings,
    expected_settings,
    preprocessor_problem,
    style_problem,
)
from ..weights.pretrained import fitting_tensors, is_pretrained
from .faults import Remark
from .setup import Setup

# The names behind the addresses that are tables of MMEngine's.
NAMES = {
    "torchvision": get_torchvision_models,
    "open-mmlab": get_external_models,
    "openmmlab": get_external_models,
    "mmcls": get_mmcls_models,
}


def pretrained_problems(setup: Setup, model: nn.Module) -> Iterator[str]:
    """Why parts of ``model`` cannot start from the files in their ``init_cfg``.

    Weights for other images or of another style are a remark: they load and can be trained.
    """
    own = setup.section("model").get("data_preprocessor")
    preprocessor = own or setup.section("data_preprocessor")
    if not any(data.loader for data in setup.sets if data.loop == "train"):
        preprocessor = {}  # CIFAR's images are RGB before it
    said: set[str] = set()
    for name, module in model.named_modules():
        settings = getattr(module, "init_cfg", None)
        for setting in settings if isinstance(settings, list) else [settings]:
            if not isinstance(setting, dict) or not is_pretrained(setting):
                continue
            key = setup.key_of(name, module) if name else "model"
            if key in said:  # a student and its teacher have one config
                continue
            said.add(key)
            problems: list[str] = []
            with collecting(problems):
                images = check_start(module, setting, key)
                remarks = [preprocessor_problem(images, preprocessor)]
                if is_address(setting["checkpoint"]):  # else the backbone says it when it loads
                    remarks.append(style_problem(images, module))
                problems += [Remark(f"{key}.init_cfg: {text}") for text in remarks if text]
            yield from problems


def check_start(module: nn.Module, setting: Mapping[str, Any], key: str) -> ImageSettings | None:
    """What images the file in the ``init_cfg`` of ``module`` is for, if that is known.

    Raises:
        UserError: If ``module`` cannot start from it.
    """
    source = setting.get("checkpoint")
    without = f"\nTo start without it: --cfg-options {key}.init_cfg=None"
    if not source:
        problem = f"{key}.init_cfg: type='Pretrained' needs a checkpoint, the file.{without}"
        raise UserError([problem])
    with user_error(f"{key}.init_cfg.checkpoint", without):
        if is_address(source):
            check_name(source)
            return expected_settings((), source)  # the runner fetches it
    known = {name: setting[name] for name in ("prefix", "allow_partial") if name in setting}
    trained_by = known_configs(Path()).get(Path(source).parent.name)
    command = f"\nTo train it: mmres train {trained_by}" if trained_by else ""
    with user_error(f"{key}.init_cfg.checkpoint", without + command):
        return fitting_tensors(module, source, **known)[2]


def check_name(address: str) -> None:
    """Raise ValueError or FileNotFoundError for a name behind which nothing is."""
    scheme, _, name = address.partition("://")
    if address.startswith(OWN_SCHEME):
        load_by_name(address)  # says how to get it
    if scheme in NAMES and name not in (known := NAMES[scheme]()):
        raise ValueError(f"{scheme}:// has no '{name}'.{did_you_mean(name, known)}")


def checkpoint_problems(setup: Setup, model: nn.Module | None) -> Iterator[str]:
    """Why the run cannot load its checkpoint (``load_from``, ``--resume``, the one to test)."""
    resume, source = setup.resumes, setup.load_from
    what = "--resume" if resume else "load_from" if setup.task == "train" else "checkpoint"
    if resume and source is None:
        latest = latest_checkpoint(*setup.folders)
        source = str(latest) if latest else None
    if not source:
        return
    with user_error(what):
        source = str(source)
        if is_address(source):
            return check_name(source)  # the runner fetches it
    content = open_checkpoint(source, what)
    if resume and not content.keys() >= TRAINING_STATE:
        yield (
            f"{what}: {source} holds weights but not the state of a training. To start a new "
            f"training from them: --cfg-options load_from={source}"
        )
    elif resume:
        yield from already_complete(setup.section("train_cfg"), find_meta(content), source)
    if model is not None:
        fit = compare(model, content.get("state_dict", content))
        if fit.problem and what == "load_from" and fit.share >= ENOUGH:
            yield Remark(f"{what}: {source} fits in part. {fit.problem}")
        elif fit.problem:
            yield f"{what}: {source} does not fit the config's model. {fit.problem}"


def already_complete(train_cfg: Mapping, meta: Mapping[str, Any], source: str) -> Iterator[Remark]:
    """A remark where ``source`` is of the end of the training, which then has no step left."""
    for unit, key in (("epoch", "max_epochs"), ("iter", "max_iters")):
        last = train_cfg.get(key)
        if last and meta.get(unit, 0) >= last:
            yield Remark(
                f"--resume: no step is left to train. {source} is of {unit} {meta[unit]}, the last "
                f"of train_cfg.{key}={last}. To continue: --cfg-options train_cfg.{key}={2 * last}"
            )
