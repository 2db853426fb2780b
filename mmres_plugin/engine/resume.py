"""Find the checkpoint to resume from, and compare its config with the present one."""

import ast
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..errors import UserError
from ..weights.files import find_meta, find_state_dict, read_checkpoint
from .processes import is_first

TRAINING_STATE = {"meta", "message_hub", "optimizer"}
# Settings of optimizers without which another one cannot go on.
OPTIMIZERS = {"momentum", "betas", "alpha", "rho", "lambd", "etas"}


def checkpoint_folders(cfg: Config) -> list[Path]:
    """The work dir, and the folder for checkpoints if it is another one on this machine."""
    work_dir = Path(cfg.work_dir)
    out_dir = ((cfg.get("default_hooks") or {}).get("checkpoint") or {}).get("out_dir")
    if not out_dir or "://" in str(out_dir):
        return [work_dir]
    folder = Path(out_dir) / work_dir.absolute().name
    return [work_dir] if folder.resolve() == work_dir.resolve() else [work_dir, folder]


def refuse_to_overwrite(cfg: Config) -> None:
    """Raise UserError if a new training would write over another's checkpoints in its ``out_dir``.

    The names there come from the last part of the work dir alone, so trainings may share them.
    """
    work_dir, *others = checkpoint_folders(cfg)
    for folder in [] if cfg.get("resume") or _named_by(work_dir / "last_checkpoint") else others:
        if any(folder.glob("*.pth")):
            raise UserError(
                f"default_hooks.checkpoint.out_dir: {folder} has checkpoints of another "
                "training. Choose a --work-dir with another name, or go on with --resume.",
                "Nothing was started:",
            )


def latest_checkpoint(*folders: Path) -> Path | None:
    """The newest whole checkpoint in ``folders``, the work dir first; None if there is none at all.

    ``last_checkpoint`` is a hint: it may be missing, empty, outdated or point to a folder that has
    moved. The log says which files were passed over, and why.

    Raises:
        UserError: If there are checkpoints and none is whole. A new training would write over them.
    """
    pointer = folders[0] / "last_checkpoint"
    named = _named_by(pointer)
    files = {path for folder in folders for path in folder.glob("*.pth") if path.is_file()}
    files |= {named} if named else set()
    # A kill between saving a file and naming it leaves one that is newer than the name. The best
    # checkpoints are newer too, but hold weights alone.
    resumable = {path for path in files if not path.name.startswith("best_")}
    hinted = {p for p in resumable if not named or p == named or _age(p) > _age(pointer)}
    refused = []
    for group in (hinted, files - hinted):
        whole = []
        for path in sorted(group, key=_age, reverse=True):
            try:
                whole.append((_iteration(path), _age(path), path))
            except ValueError as error:
                refused.append(str(error))
        if whole:
            latest = max(whole)[-1]
            _say([f"--resume: passed over, {text}" for text in refused])
            _say([f"--resume: continuing from {latest}"], logging.INFO)
            return latest
    where = " and ".join(map(str, folders))
    if refused:
        hint = f"To start over, choose another --work-dir, or move the files in {where} away."
        raise UserError([*(f"--resume: {text}" for text in refused), hint])
    _say([f"--resume: {where} has no checkpoint yet, so training starts from the beginning"])
    return None


def _named_by(pointer: Path) -> Path | None:
    """The existing file that ``last_checkpoint`` means, in its own folder if it is there."""
    try:
        named = Path(pointer.read_text().strip()) if pointer.is_file() else Path()
        return next((p for p in (pointer.parent / named.name, named) if p.is_file()), None)
    except (OSError, ValueError):  # no text, or no name that a file could have
        return None


def _iteration(path: Path) -> int:
    """The iteration after which ``path`` was saved.

    Raises:
        ValueError: If no training can go on from it.
    """
    content = read_checkpoint(path)
    find_state_dict(content, path)
    iteration = find_meta(content).get("iter")
    if not content.keys() >= TRAINING_STATE or not isinstance(iteration, int):
        raise ValueError(f"{path} holds weights but not the state of a training")
    return iteration


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _say(lines: list[str], level: int = logging.WARNING) -> None:
    for line in lines if is_first() else ():
        print_log(line, logger="current", level=level)


def compare_settings(checkpoint: Mapping[str, Any], runner: Runner) -> None:
    """Log which settings of the present config a resumed training does not follow.

    MMEngine restores optimizer and schedulers with the settings of the checkpoint.

    Raises:
        UserError: If the state of the optimizer belongs to another optimizer or other parameters.
    """
    saved = checkpoint.get("optimizer", {}).get("param_groups", [])
    groups = getattr(runner.optim_wrapper, "param_groups", [])
    if saved and groups and isinstance(groups, list):
        lost = OPTIMIZERS & groups[0].keys() - saved[0].keys()
        counts = [[len(group["params"]) for group in one] for one in (saved, groups)]
        why = f"another optimizer (it has no {', '.join(sorted(lost))})" if lost else ""
        if counts[0] != counts[1]:
            why = f"parameters in groups of {counts[0]}, the config's are {counts[1]}"
        if why:
            raise UserError(f"--resume: the checkpoint is of {why}. {START_ANEW}")
    old, new = (settings(text) for text in (checkpoint["meta"].get("cfg"), runner.cfg.pretty_text))
    remarks = [
        f"{key} was {old.get(key)}. Optimizer and schedulers keep their settings. {START_ANEW}"
        for key in ("optim_wrapper", "param_scheduler")
        if old and old.get(key) != new.get(key)
    ]
    if "ema_state_dict" in checkpoint and not any(isinstance(h, EMAHook) for h in runner.hooks):
        remarks.append("without EMAHook, training goes on from the averaged weights")
    _say([f"--resume: {text}" for text in remarks])


START_ANEW = "To train with other settings, start from its weights: load_from, without --resume"


def settings(text: str | None) -> dict[str, str]:
    """What a config's text assigns to its keys, as text; nothing of it is run."""
    try:
        nodes = [node for node in ast.parse(text or "").body if isinstance(node, ast.Assign)]
        return {ast.unparse(node.targets[0]): ast.unparse(node.value) for node in nodes}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}  # not as MMEngine writes it
