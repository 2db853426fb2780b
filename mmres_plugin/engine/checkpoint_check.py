"""Is a checkpoint there, whole, safe to open, and does it fit the model?"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..weights import files
from ..weights.shapes import EXAMPLES, differences, shapes
from .errors import UserError


def local_path(source: str) -> Path | None:
    """``source`` as a path, or None if it is a name that a loader resolves elsewhere (URLs …)."""
    return None if "://" in source else Path(source).expanduser()


def read_checkpoint(path: Path, what: str) -> dict[str, Any]:
    """Open a checkpoint without letting it run code.

    Args:
        path: The file.
        what: How the user named it (``--resume``, ``load_from`` …), for the message.

    Raises:
        UserError: the file is missing, empty, damaged, no checkpoint, or needs code to be run.
    """
    if not path.exists():
        raise UserError([f"{what}: {path.absolute()} does not exist.{beside(path)}"])
    try:
        content = files.read_checkpoint(path.absolute())
        files.find_state_dict(content, path.absolute())
    except (ValueError, ImportError) as error:
        raise UserError([f"{what}: {error}{beside(path)}"]) from error
    return dict(content)


def beside(path: Path) -> str:
    """The other checkpoints in the folder of ``path``, newest last, as a hint."""
    folder = path.absolute().parent
    files = [file for file in folder.glob("*.pth") if file.name != path.name]
    files.sort(key=lambda file: file.stat().st_mtime)
    names = ", ".join(file.name for file in files[-EXAMPLES:])
    return f" {folder} holds: {names}." if names else ""


def fit_problem(
    model: nn.Module, state: Mapping[str, Tensor], share: float = 1.0
) -> tuple[str | None, str | None]:
    """Compare ``state`` with what ``model`` holds.

    Args:
        model: What is to be filled. May be changed: hand in one that is not needed any more.
        state: Tensors by name.
        share: Least share of the model's tensors that must be filled, in (0, 1]. With 1, names
            that the model does not have are a problem as well.

    Returns:
        A problem or None, and a remark (it fits, but in part) or None. At most one of them is set.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    try:  # the real thing: models may rename old names while loading
        model.load_state_dict(state, strict=True)
        return None, None
    except RuntimeError:
        pass
    own, given = shapes(model.state_dict()), shapes(state)
    found = differences(given, own)
    if not found:
        return None, None
    fitting = sum(given.get(name) == shape for name, shape in own.items())
    text = "\n".join(
        [
            f"{fitting} of the model's {len(own)} tensors are in the file with the same shape.",
            *found,
        ]
    )
    return (None, text) if share < 1 and fitting >= share * len(own) else (text, None)


def pretrained_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module, dict]]:
    """Name, module and ``init_cfg`` of each part of ``model`` that starts from a file."""
    for name, module in model.named_modules():
        settings = getattr(module, "init_cfg", None)
        for setting in settings if isinstance(settings, list) else [settings]:
            if isinstance(setting, dict) and setting.get("type") == "Pretrained":
                yield f"model.{name}".rstrip("."), module, setting
