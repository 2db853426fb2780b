"""Trained models from config and checkpoint."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..config import build_model, load_config
from ..errors import UserError
from .files import find_classes, find_state_dict, open_checkpoint
from .fit import Fit, compare


def load_model(config: str | Path | Config, checkpoint: str | Path | None = None) -> nn.Module:
    """The model of ``config`` in evaluation mode.

    It has the attributes ``cfg`` and ``dataset_meta``, which MMDetection's ``inference_detector``
    reads.

    Args:
        config: A config of MMPretrain or MMDetection, or its file.
        checkpoint: Its trained weights; None leaves the weights random, for tests of speed.

    Raises:
        UserError: If a file cannot be read, or the checkpoint does not fit the model.
    """
    cfg = config if isinstance(config, Config) else load_config(config)
    model = build_model(cfg)
    if model is None:
        raise UserError(f"the config {config} has no 'model'")
    meta = {}
    if checkpoint is not None:
        content = open_checkpoint(checkpoint, "checkpoint")
        fit = fitting(model, find_state_dict(content, checkpoint), checkpoint)
        model.load_state_dict(fit.tensors, strict=False)
        meta = {"classes": find_classes(content)}
    if cfg.get("default_scope"):
        init_default_scope(cfg.default_scope)  # as MMDetection does when it loads a model
    model.eval()  # returns nothing in MMDetection and MMPretrain
    model.cfg, model.dataset_meta = cfg, meta
    return model


def fitting(model: nn.Module, state: Mapping[str, Tensor], checkpoint: str | Path) -> Fit:
    """How the tensors of ``checkpoint`` fit the model; a UserError if they do not."""
    fit = compare(model, state)
    if fit.problem:
        raise UserError(f"checkpoint: {checkpoint} does not fit the model.\n{fit.problem}")
    return fit
