"""Find the checkpoint to resume from."""

import logging
from pathlib import Path

from mmengine.logging import print_log

from ..errors import UserError
from ..weights.files import find_state_dict, read_checkpoint
from .launchers import is_first

TRAINING_STATE = {"meta", "message_hub", "optimizer"}


def latest_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint in ``work_dir`` that is whole; None if there is none at all.

    ``last_checkpoint`` is a hint: it may be missing, empty, outdated or point to a folder that has
    moved. The log says which files were passed over, and why.

    Raises:
        UserError: If there are checkpoints and none is whole. A new training would write over them.
    """
    pointer = work_dir / "last_checkpoint"
    named = _named_by(pointer)
    files = {*work_dir.glob("*.pth"), *([named] if named else [])}
    # A kill between saving a file and naming it leaves one that is newer than the name.
    hinted = {path for path in files if not named or path == named or _age(path) > _age(pointer)}
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
    if refused:
        hint = f"To start over, choose another --work-dir, or move the files in {work_dir} away."
        raise UserError([*(f"--resume: {text}" for text in refused), hint])
    _say([f"--resume: {work_dir} has no checkpoint yet, so training starts from the beginning"])
    return None


def _named_by(pointer: Path) -> Path | None:
    """The existing file that ``last_checkpoint`` means, in its own folder if it is there."""
    try:
        named = Path(pointer.read_text().strip())
        return next((p for p in (pointer.parent / named.name, named) if p.is_file()), None)
    except (OSError, ValueError):  # no such file, or no text, or no name that a file could have
        return None


def _iteration(path: Path) -> int:
    """The iteration after which ``path`` was saved.

    Raises:
        ValueError: If no training can go on from it.
    """
    content = read_checkpoint(path)
    find_state_dict(content, path)
    if not content.keys() >= TRAINING_STATE:
        raise ValueError(f"{path} holds weights but not the state of a training")
    return content["meta"].get("iter", 0)


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _say(lines: list[str], level: int = logging.WARNING) -> None:
    for line in lines if is_first() else ():
        print_log(line, logger="current", level=level)
