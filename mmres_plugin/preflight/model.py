"""Can the model be built, do its parts fit together, and does it learn from frozen numbers?"""

import traceback
from collections.abc import Iterator
from copy import deepcopy

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..dependencies import check_compiled_ops
from ..errors import UserError
from ..weights.pretrained import is_pretrained
from .names import as_list, slips_in_model

# Heads that get what neck or backbone put out.
FIRST_HEADS = ("head", "bbox_head", "rpn_head")


def check_operators(cfg: Config) -> None:
    """Raise UserError if ``cfg`` is MMDetection's and MMCV lacks the operators that it needs."""
    if cfg.get("default_scope") == "mmdet":
        try:
            check_compiled_ops(cuda=torch.cuda.is_available())
        except ImportError as error:
            raise UserError([str(error)]) from error


def build_model(cfg: Config) -> nn.Module | None:
    """The model of ``cfg``, without weights; None if the config has none.

    Raises:
        UserError: If it cannot be built: an unknown type, a wrong argument.
    """
    if cfg.get("model") is None:
        return None
    check_operators(cfg)
    scope = cfg.get("default_scope")
    settings = deepcopy(cfg.model)
    if cfg.get("data_preprocessor") is not None:  # as the runner does
        settings.setdefault("data_preprocessor", deepcopy(cfg.data_preprocessor))
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(settings)
    except Exception as error:  # constructors raise whatever they like
        last = traceback.extract_tb(error.__traceback__)[-1]
        # The text of a KeyError is the representation of what it was given.
        reason = error.args[0] if isinstance(error, KeyError) and error.args else error
        reason = str(reason) or type(error).__name__
        where = f"(raised in {last.filename}, line {last.lineno})"
        slips = list(slips_in_model(cfg.model, scope, str(error)))
        raise UserError(slips or [f"model: cannot be built. {reason}\n{where}"]) from error


def model_problems(cfg: Config, model: nn.Module) -> Iterator[str]:
    """What keeps a model that can be built from learning."""
    if not cfg.get("load_from") and not cfg.get("resume"):
        yield from frozen_without_weights(model)
    yield from wrong_channels(cfg, model)


def frozen_without_weights(model: nn.Module) -> Iterator[str]:
    """A problem for each backbone that keeps stages or norms as they are drawn at random."""
    loaded: list[str] = []
    for name, module in model.named_modules():
        settings = as_list(getattr(module, "init_cfg", None))
        if any(isinstance(setting, dict) and is_pretrained(setting) for setting in settings):
            loaded.append(f"{name}." if name else "")
        norm_cfg = getattr(module, "norm_cfg", None) or {}
        frozen = {
            "frozen_stages=-1": getattr(module, "frozen_stages", -1) >= 0,
            "norm_eval=False": getattr(module, "norm_eval", False),
            "norm_cfg.requires_grad=True": not norm_cfg.get("requires_grad", True),
        }
        wrong = [option for option, is_frozen in frozen.items() if is_frozen]
        if hasattr(module, "frozen_stages") and wrong and not f"{name}.".startswith(tuple(loaded)):
            options = " ".join(f"model.{name}.{option}" for option in wrong)
            yield (
                f"model.{name}: starts from random weights and keeps some of them as they are. "
                f"Give it weights (init_cfg=dict(type='Pretrained', checkpoint=…), or load_from), "
                f"or train all of it: --cfg-options {options}"
            )


def wrong_channels(cfg: Config, model: nn.Module) -> Iterator[str]:
    """A problem where neck or head expect other channels than they get; tried with one image."""
    backbone = getattr(model, "backbone", None)
    first = next((m for m in (backbone or model).modules() if isinstance(m, nn.Conv2d)), None)
    if backbone is None or first is None:
        return
    image = torch.zeros(1, first.in_channels, 128, 128)
    try:
        with torch.no_grad():
            model.eval()
            features = [tuple(feature.shape)[1] for feature in as_list(backbone(image))]
            neck = cfg.model.get("neck")
            expected = neck.get("in_channels") if isinstance(neck, dict) else None
            if isinstance(expected, list | tuple) and list(expected) != features:
                yield channel_problem("neck", list(expected), features, "the backbone puts out")
                return
            features = [tuple(feature.shape)[1] for feature in as_list(model.extract_feat(image))]  # pyright: ignore[reportCallIssue]
    except Exception:  # networks that need more than an image say so in the run itself
        return
    for name in FIRST_HEADS:
        head = cfg.model.get(name)
        expected = head.get("in_channels") if isinstance(head, dict) else None
        if isinstance(expected, int) and features[-1] != expected:
            yield channel_problem(name, expected, features[-1], "it gets")


def channel_problem(part: str, expected: object, found: object, verb: str) -> str:
    """The message for a part of the model with the wrong ``in_channels``."""
    option = f"model.{part}.in_channels={found}".replace(" ", "")
    return (
        f"model.{part}.in_channels is {expected}, but {verb} {found} channels.\n"
        f"Write it into the config, or: --cfg-options {option}"
    )
