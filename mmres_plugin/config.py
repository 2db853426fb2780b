"""Read a config, find keys in it that nothing reads, and build its model."""

import inspect
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from .config_parts import dicts, type_name
from .environment import check_compiled_ops
from .errors import UserError, close_name, did_you_mean, place_of_code, reason_of

RUNNER_KEYS = set(inspect.signature(Runner).parameters) - {"cfg"}
# Top-level keys that something other than the constructor of the runner reads.
CONVENTIONS = {"activation_checkpointing", "compile", "custom_imports", "efficient_conv_bn_eval"}
CONVENTIONS |= {"find_unused_parameters", "model_wrapper_cfg", "runner_type", "sync_bn"}
CONVENTIONS |= {"tta_model", "tta_pipeline", "vis_backends"}
# Keys whose values must be dicts, and what some may be besides.
WRAPPER, LOADER = "optim_wrapper", "dataloader.dataset"
PARTS = ("model", "model.test_cfg", "default_hooks", "visualizer", WRAPPER)
PARTS += (f"{WRAPPER}.paramwise_cfg", f"{WRAPPER}.paramwise_cfg.custom_keys")
PARTS += tuple(
    f"{loop}_{part}"
    for loop in ("train", "val", "test")
    for part in (
        *("cfg", "evaluator", "dataloader", LOADER, f"{LOADER}.metainfo", f"{LOADER}.filter_cfg"),
        *(f"{LOADER}.backend_args", f"{LOADER}.data_prefix"),
    )
)
ALSO = {"data_prefix": str, **dict.fromkeys(("val_evaluator", "test_evaluator"), list)}


def load_config(
    path: str | Path, options: Mapping[str, Any] | Sequence[str] | None = None
) -> Config:
    """Read the config file ``path`` and put ``options`` into it.

    Args:
        path: The file.
        options: What ``--cfg-options`` gave, as ``['model.backbone.depth=18']`` or
            ``{'model.backbone.depth': 18}``.

    Raises:
        UserError: No such file, a file that cannot be read, or an option that names nothing.
    """
    options = parsed(options or {})
    if not Path(path).is_file():
        raise UserError([missing_config(Path(path))])
    try:
        cfg = Config.fromfile(path)
        items = list(cfg.items())  # configs with `read_base` import what they name only now
    except Exception as error:  # a config is a program: it can fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise UserError([f"the config {path} cannot be read: {reason}"]) from error
    problems = []
    for key, value in items:
        try:
            deepcopy(value)
        except TypeError as error:  # a module, an open file …
            problems.append(
                f"the config {path} keeps the {type(value).__name__} '{key}', which MMEngine "
                f"cannot store ({error}). Take it out, or end the config with: del {key}"
            )
    problems += [
        f"the config {path} has the unknown key '{key}'.{did_you_mean(key, RUNNER_KEYS)}"
        for key, _ in items
        if key not in RUNNER_KEYS | CONVENTIONS and close_name(key, RUNNER_KEYS)
    ]
    found = ((key, option_problem(dict(items), key)) for key in options)
    problems += [f"--cfg-options {key}: {problem}" for key, problem in found if problem]
    if problems:
        raise UserError(problems)
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError, ValueError) as error:
        raise UserError([f"--cfg-options does not fit the config: {error}"]) from error
    if problems := list(wrong_kinds(cfg)):
        raise UserError([f"the config {path}: {problem}" for problem in problems])
    return cfg


def wrong_kinds(cfg: Config) -> Iterator[str]:
    """A problem for each part of a config that is a list, a text or a number in place of a dict."""
    scope = cfg.get("default_scope")
    if not isinstance(scope, str | None):
        yield f"default_scope is {scope!r}, must be a name such as 'mmdet'"
    for key in PARTS:
        node: Any = dict(cfg.items())
        for word in key.split("."):
            node = node.get(word) if isinstance(node, Mapping) else None
        kind = ALSO.get(word, ())
        if isinstance(node, str | int | float | list | tuple) and not isinstance(node, kind):
            yield f"{key} is {node!r}, must be a dict"


def parsed(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """The settings in ``key=value`` pairs, by key; a mapping is taken as it is.

    Raises:
        UserError: A pair without ``=``, or a bracket that is not closed.
    """
    if isinstance(options, Mapping):
        return dict(options)
    from mmengine.config import DictAction

    found = Namespace(options={})
    try:
        DictAction(["--cfg-options"], "options")(ArgumentParser(), found, options)
    except ValueError as error:
        example = "for example model.backbone.depth=18"
        raise UserError([f"--cfg-options takes key=value pairs, {example}"]) from error
    except AssertionError as error:
        raise UserError([f"--cfg-options: {error}"]) from error
    return found.options


def missing_config(path: Path) -> str:
    """The message for a config that is not there, with a name that is close to it."""
    known = known_configs(path.parent)
    close = close_name(path.stem, known)
    hint = f"Did you mean {known[close]}?" if close else "The plugin's configs are in configs/."
    return f"there is no config {path} (looked in {path.parent.absolute()}). {hint}"


def known_configs(folder: Path) -> dict[str, Path]:
    """The configs of the plugin and those directly in ``folder``, by name."""
    package = Path(__file__).resolve().parent
    found = [
        path
        for root in (package / ".mim" / "configs", package.parent / "configs")
        if root.is_dir()
        for path in sorted(root.rglob("*.py"))
    ]
    found += sorted(folder.glob("*.py")) if folder.is_dir() else []
    here = Path.cwd()
    return {p.stem: p.relative_to(here) if p.is_relative_to(here) else p for p in found}


def option_problem(cfg: Any, key: str) -> str | None:
    """Why the dotted ``key`` is probably a mistake, or None.

    New words are allowed below what the config has (``model.backbone.with_cp``,
    ``optim_wrapper.clip_grad.max_norm``), unless the first of them resembles a word next to it.
    """
    node, here = cfg, ""
    for word in key.split("."):
        if isinstance(node, list):
            if not word.isdigit() or int(word) >= len(node):
                return f"'{here}' has {len(node)} items: '{word}' must be 0 to {len(node) - 1}."
            node = node[int(word)]
        elif isinstance(node, dict):
            known = set(node) if here else {*node, *RUNNER_KEYS, *CONVENTIONS}
            slip = did_you_mean(word, known)
            if word not in known and (slip or not here):
                place = f"'{here}'" if here else "the config"
                slip = slip or f" It has: {', '.join(sorted(known))}."
                return f"{place} has no '{word}'.{slip}"
            if word not in node:
                return None
            node = node[word]
        elif node is not None:
            return f"'{here}' is {node!r}, which has no '{word}'."
        here = f"{here}.{word}" if here else word
    return None


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
    settings = deepcopy(cfg.model)
    if cfg.get("data_preprocessor") is not None:  # as the runner does
        settings.setdefault("data_preprocessor", deepcopy(cfg.data_preprocessor))
    for _, node in dicts(settings, "model"):
        if type_name(node) == "MMSyncBN":  # its constructor needs the processes of the run
            node["type"] = "BN"
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            return MODELS.build(settings)
    except Exception as error:  # constructors raise whatever they like
        said = f"model: cannot be built. {reason_of(error)}\n{place_of_code(error)}"
        raise UserError([said]) from error
