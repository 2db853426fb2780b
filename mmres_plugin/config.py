"""Read a config, and find keys in it that nothing reads."""

import inspect
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from .errors import UserError, close_name, did_you_mean

RUNNER_KEYS = set(inspect.signature(Runner).parameters) - {"cfg"}
# Top-level keys that something other than the constructor of the runner reads.
CONVENTIONS = {
    "activation_checkpointing",
    "compile",
    "custom_imports",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "sync_bn",
    "tta_model",
    "tta_pipeline",
    "vis_backends",
}


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read the config file ``path`` and put ``options`` into it.

    Args:
        path: The file.
        options: What ``--cfg-options`` gave, ``{'model.backbone.depth': 18}``.

    Raises:
        UserError: No such file, a file that cannot be read, or an option that names nothing.
    """
    options = options or {}
    if not Path(path).is_file():
        raise UserError([missing_config(Path(path))])
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is a program: it can fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise UserError([f"the config {path} cannot be read: {reason}"]) from error
    problems = [
        f"the config {path} has the unknown key '{key}'.{did_you_mean(key, RUNNER_KEYS)}"
        for key in cfg
        if key not in RUNNER_KEYS | CONVENTIONS and close_name(key, RUNNER_KEYS)
    ]
    for key in options:
        problem = option_problem(cfg._cfg_dict, key)
        if problem:
            problems.append(f"--cfg-options {key}: {problem}")
    if problems:
        raise UserError(problems)
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError, ValueError) as error:
        raise UserError([f"--cfg-options does not fit the config: {error}"]) from error
    return cfg


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
        for place in (package / ".mim" / "configs", package.parent / "configs")
        if place.is_dir()
        for path in sorted(place.rglob("*.py"))
    ]
    found += sorted(folder.glob("*.py")) if folder.is_dir() else []
    here = Path.cwd()
    return {p.stem: p.relative_to(here) if p.is_relative_to(here) else p for p in found}


def option_problem(cfg: Any, key: str) -> str | None:
    """Why the dotted ``key`` is probably a mistake, or None.

    New words are allowed below what the config has (``model.backbone.with_cp``,
    ``optim_wrapper.clip_grad.max_norm``), unless the first of them resembles a word next to it.
    """
    words = key.split(".")
    node, here = cfg, ""
    for word in words:
        if isinstance(node, list):
            if not word.isdigit() or int(word) >= len(node):
                return f"'{here}' has {len(node)} items: '{word}' must be 0 to {len(node) - 1}."
            node = node[int(word)]
        elif isinstance(node, dict):
            if word not in node:
                return new_word_problem(set(node), here, word)
            node = node[word]
        elif node is not None:
            return f"'{here}' is {node!r}, which has no '{word}'."
        here = f"{here}.{word}" if here else word
    return None


def new_word_problem(siblings: set[str], here: str, word: str) -> str | None:
    """Why ``word`` cannot be added under ``here``, which holds ``siblings``, or None."""
    place = f"'{here}'" if here else "the config"
    if not here:
        siblings = siblings | RUNNER_KEYS | CONVENTIONS
    if word in siblings:
        return None
    if close_name(word, siblings):
        return f"{place} has no '{word}'.{did_you_mean(word, siblings)}"
    return None if here else f"{place} has no '{word}'. It has: {', '.join(sorted(siblings))}."
