"""Trained models from config and checkpoint, and folded files that need no config."""

# PyTorch gives attributes of modules no types of their own.
# pyright: reportArgumentType=false

import copy
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import nn

from ..checks.model import build_model
from ..config import load_config
from ..config_parts import innermost
from ..errors import UserError, user_error
from ..weights.files import FOLDED, atomic_write, find_meta, open_checkpoint, read_checkpoint
from ..weights.fit import fit_problem
from ..weights.stored_config import check_types
from .fold import FoldedNorm, fold_norms

# The parts of a config that build its model, and that tell inferencers how to read images.
NEEDED = ("default_scope", "data_preprocessor", "model")


def load_model(config: str | Path | Config, checkpoint: str | Path | None = None) -> nn.Module:
    """The model of ``config`` in evaluation mode.

    Args:
        config: A config of MMPretrain or MMDetection, or its file.
        checkpoint: Its trained weights; None leaves the weights random, for tests of speed.

    Raises:
        UserError: If a file cannot be read, or the checkpoint does not fit the model.
    """
    cfg = config if isinstance(config, Config) else load_config(config)
    model = build_model(cfg)
    if model is None:
        raise UserError([f"the config {config} has no 'model'"])
    meta = {}
    if checkpoint is not None:
        content = open_checkpoint(checkpoint, "checkpoint")
        fill(model, content, checkpoint)
        meta = find_meta(content).get("dataset_meta") or {}
    return _ready(model, cfg, meta)


def save_folded(folded: nn.Module, config: str | Path, out: str | Path) -> None:
    """Write a folded model with its config to one file for :func:`load_folded`.

    Args:
        folded: What :func:`~mmres_plugin.deploy.fold.fold_norms` has made of the model.
        config: The config file that the model was trained with.
        out: The file to write.

    Raises:
        UserError: If the config cannot be read, or names types that no OpenMMLab registry has.
    """
    # Containers of names and numbers, which open without running code, as a config file does not.
    cfg = load_config(config).to_dict()
    stored = {key: cfg[key] for key in NEEDED if key in cfg}
    pipeline = innermost(cfg.get("test_dataloader")).get("pipeline")
    if pipeline:
        stored["test_dataloader"] = {"dataset": {"pipeline": pipeline}}
    with user_error("config", headline=""):
        check_types(stored, config)  # else load_folded would refuse the file
    meta = {FOLDED: stored, "dataset_meta": getattr(folded, "dataset_meta", None)}
    with atomic_write(out) as temporary:
        torch.save({"meta": meta, "state_dict": folded.state_dict()}, temporary)


def load_folded(path: str | Path) -> nn.Module:
    """The folded model that :func:`save_folded` has written, in evaluation mode.

    It has what MMPretrain's ``ImageClassificationInferencer`` and MMDetection's
    ``inference_detector`` look for: ``cfg`` and ``dataset_meta``.

    Args:
        path: The file.

    Raises:
        UserError: If the file cannot be read, is no folded model, or its config names a type that
            no OpenMMLab registry has. Nothing in the file is run.
    """
    with user_error("checkpoint", headline=""):
        content = read_checkpoint(path)
        stored = find_meta(content).get(FOLDED)
        if not isinstance(stored, dict):
            raise ValueError(
                f"{path} is not folded: make it with tools/model_converters/fold_checkpoint.py, "
                "or open it with load_model"
            )
        check_types(stored, path)
    cfg = Config(stored)
    model = fold_norms(build_model(cfg))
    fill(model, content, path)
    return _ready(model, cfg, content["meta"].get("dataset_meta") or {})


def _ready(model: nn.Module, cfg: Config, dataset_meta: dict) -> nn.Module:
    """``model`` in evaluation mode, with what the packages' inferencers look for."""
    if cfg.get("test_dataloader"):  # the pipeline, for which they look into no wrapper
        cfg = copy.deepcopy(cfg)
        cfg.test_dataloader.dataset = innermost(cfg.test_dataloader)
    if cfg.get("default_scope"):
        init_default_scope(cfg.default_scope)  # as MMDetection does when it loads a model
    model.eval()
    model.cfg = model._config = cfg  # MMDetection's name, MMPretrain's
    model.dataset_meta = model._dataset_meta = ConfigDict(dataset_meta).to_dict()
    return model


def fill(model: nn.Module, content: dict, path: str | Path) -> None:
    """Load the weights of a checkpoint's ``content``, all of them or none."""
    problem, _ = fit_problem(model, content.get("state_dict", content))
    if problem:
        raise UserError([f"checkpoint: {path} does not fit the model.\n{problem}"], "")


def count_folded(model: nn.Module) -> int:
    """How many norms of ``model`` are folded."""
    return sum(isinstance(module, FoldedNorm) for module in model.modules())
