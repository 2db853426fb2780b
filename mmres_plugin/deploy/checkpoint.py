"""Trained models from config and checkpoint, and folded checkpoints that need no config."""

from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from ..engine.checkpoint_check import fit_problem, read_checkpoint
from ..engine.config_check import load_config
from ..engine.errors import UserError
from ..engine.preflight import build_model
from ..weights.files import whole
from .fold import FoldedNorm, fold_norms

MARK = "mmres_plugin_folded"
# What of a config its model is built from.
NEEDED = ("default_scope", "data_preprocessor", "model")


def load_model(config: str | Path, checkpoint: str | Path | None = None) -> nn.Module:
    """The model of ``config`` in evaluation mode.

    Args:
        config: A config file of MMPretrain or MMDetection.
        checkpoint: Its trained weights; None leaves the weights random, for tests of speed.

    Raises:
        UserError: If a file cannot be read, or the checkpoint does not fit the model.
    """
    model = build_model(load_config(str(config))).eval()
    if checkpoint is not None:
        content = read_checkpoint(Path(checkpoint), "checkpoint")
        if MARK in content.get("meta", {}):
            raise UserError(
                [f"checkpoint: {checkpoint} is already folded; load_folded opens it"], ""
            )
        fill(model, content, checkpoint)
    return model


def save_folded(folded: nn.Module, config: str | Path, out: str | Path) -> None:
    """Write a folded model with its config to one file for :func:`load_folded`.

    Args:
        folded: What :func:`~mmres_plugin.deploy.fold.fold_norms` has made of the model.
        config: The config file that the model was trained with.
        out: The file to write.
    """
    cfg = load_config(str(config)).to_dict()
    # Containers of names and numbers, which open without running code, as a config file does not.
    cfg = {key: cfg[key] for key in NEEDED if key in cfg}
    with whole(out) as half:
        torch.save({"meta": {MARK: cfg}, "state_dict": folded.state_dict()}, half)


def load_folded(path: str | Path) -> nn.Module:
    """The folded model that :func:`save_folded` has written, in evaluation mode.

    Args:
        path: The file.

    Raises:
        UserError: If the file cannot be read or is none of these.
    """
    content = read_checkpoint(Path(path), "checkpoint")
    cfg = content.get("meta", {}).get(MARK)
    if not isinstance(cfg, dict):
        raise UserError(
            [
                f"checkpoint: {path} is not folded: make it with tools/model_converters/"
                "fold_checkpoint.py, or open it with load_model"
            ],
            "",
        )
    model = fold_norms(build_model(Config(cfg)))
    fill(model, content, path)
    return model


def fill(model: nn.Module, content: dict, path: str | Path) -> None:
    """Load the weights of a checkpoint's ``content``, all of them or none."""
    problem, _ = fit_problem(model, content.get("state_dict", content))
    if problem:
        raise UserError([f"checkpoint: {path} does not fit the model.\n{problem}"], "")


def count_folded(model: nn.Module) -> int:
    """How many norms of ``model`` are folded."""
    return sum(isinstance(module, FoldedNorm) for module in model.modules())
