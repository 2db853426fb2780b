"""Can the model be built, and does it freeze random weights?"""

from collections.abc import Iterator
from copy import deepcopy

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..config_parts import as_list, dicts, type_name
from ..dependencies import check_compiled_ops
from ..errors import UserError, place_of_code, reason_of
from ..weights.pretrained import is_pretrained
from .names import slips_in_model


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
    for _, node in dicts(settings, "model"):
        if type_name(node) == "MMSyncBN":  # its constructor needs the processes of the run
            node["type"] = "BN"
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(settings)
    except Exception as error:  # constructors raise whatever they like
        said = f"model: cannot be built. {reason_of(error)}\n{place_of_code(error)}"
        raise UserError([*slips_in_model(cfg.model, scope, str(error))] or [said]) from error


def model_problems(cfg: Config, model: nn.Module) -> Iterator[str]:
    """What keeps a model that can be built from learning."""
    if not cfg.get("load_from") and not cfg.get("resume"):
        yield from frozen_without_weights(model)
    for name, module in model.named_modules():
        stages = getattr(module, "out_indices", None)
        if isinstance(stages, list | tuple) and list(stages) != sorted(stages):
            yield (
                f"model.{name}.out_indices is {stages}: a backbone returns its stages in ascending "
                f"order, whatever you write here. Write {tuple(sorted(stages))}"
            )


def frozen_without_weights(model: nn.Module) -> Iterator[str]:
    """A problem for each backbone that keeps stages or norms as they are drawn at random."""
    model.train()  # some freeze their stages only here
    loaded: list[str] = []
    for name, module in model.named_modules():
        settings = as_list(getattr(module, "init_cfg", None))
        if any(isinstance(setting, dict) and is_pretrained(setting) for setting in settings):
            loaded.append(f"{name}." if name else "")
        norm_cfg = getattr(module, "norm_cfg", None) or {}
        fixed = any(not parameter.requires_grad for parameter in module.parameters())
        norms = any(isinstance(child, _BatchNorm) for child in module.modules())
        frozen = {  # at frozen_stages=0 some backbones freeze the stem, others nothing
            "frozen_stages=-1": fixed and getattr(module, "frozen_stages", -1) >= 0,
            "norm_eval=False": norms and getattr(module, "norm_eval", False),
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
