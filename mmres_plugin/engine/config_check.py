"""Reading a config, and finding the words in it that nothing will ever look at."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from .errors import UserError, close_name, did_you_mean

RUNNER_KEYS = set(inspect.signature(Runner).parameters) - {"cfg"}
# Top-level keys that somebody else than the constructor of the runner reads.
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


def load_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Read the config file ``path`` and put ``options`` into it.

    Args:
        path: Config file.
        options: What ``--cfg-options`` gave, ``{'model.backbone.depth': 18}``.

    Raises:
        UserError: no such file, a file that cannot be read, an option that names nothing.
    """
    if not Path(path).is_file():
        raise UserError([missing_config(path)])
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is a program: it can fail in any way
        raise UserError(
            [f"the config {path} cannot be read: {type(error).__name__}: {error}"]
        ) from error
    problems = list(misspelt_keys(cfg, path))
    for key in options or {}:
        problem = option_problem(cfg._cfg_dict, key)
        if problem:
            problems.append(f"--cfg-options {key}: {problem}")
    if problems:
        raise UserError(problems)
    try:
        cfg.merge_from_dict(options or {})
    except (TypeError, KeyError, ValueError) as error:
        raise UserError([f"--cfg-options does not fit the config: {error}"]) from error
    return cfg


def missing_config(path: str) -> str:
    """The message for a config that is not there, with names that are close to it."""
    asked = Path(path)
    by_name = known_configs(asked.parent)
    close = close_name(asked.stem, by_name)
    if close:
        hint = f"Did you mean {by_name[close]}?"
    else:
        hint = "The configs of the plugin are in the folder configs/."
    return f"there is no config {path} (looked in {asked.parent.absolute()}). {hint}"


def known_configs(folder: Path) -> dict[str, Path]:
    """The configs of the plugin and those directly in ``folder``, by name."""
    package = Path(__file__).resolve().parents[1]
    shipped = [package / ".mim" / "configs", package.parent / "configs"]
    found = [file for place in shipped if place.is_dir() for file in sorted(place.rglob("*.py"))]
    found += sorted(folder.glob("*.py")) if folder.is_dir() else []
    here = Path.cwd()
    return {
        file.stem: file.relative_to(here) if file.is_relative_to(here) else file for file in found
    }


def misspelt_keys(cfg: Config, path: str) -> Iterator[str]:
    """A problem for each top-level key that is almost, but not quite, one the runner knows."""
    for key in cfg:
        meant = None if key in RUNNER_KEYS | CONVENTIONS else close_name(key, RUNNER_KEYS)
        if meant:
            yield f"the config {path} has the unknown key '{key}'. Did you mean '{meant}'?"


def option_problem(cfg: Any, key: str) -> str | None:
    """Why the dotted ``key`` cannot be meant as it stands in ``cfg``, or None.

    New words are allowed within what the config has (``model.backbone.with_cp``,
    ``optim_wrapper.clip_grad.max_norm``), as long as the first is not a slip of a word beside it.
    """
    words = key.split(".")
    node, here = cfg, ""
    for word in words:
        if isinstance(node, list):
            if not word.isdigit() or int(word) >= len(node):
                return f"'{here}' is a list of {len(node)}: '{word}' must be 0 to {len(node) - 1}."
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
    if not here:
        return f"{place} has no '{word}'. It has: {', '.join(sorted(siblings))}."
    return None
