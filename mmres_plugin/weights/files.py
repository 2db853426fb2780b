"""Open and write checkpoint files; nothing in them is run.

Importing this module changes MMEngine's loaders of checkpoints, which ``get_model``,
``init_detector``, ``load_checkpoint``, ``load_from`` and ``init_cfg`` use: they run nothing either.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local as _load_from_local
from torch import Tensor

from ..errors import EXAMPLES, did_you_mean, shortened, user_error
from .safe_loading import explain_errors, files_are_trusted, load_weights, weights_only

# What a file that is no checkpoint starts with, and what it is.
IMPOSTORS = (
    (
        b"<",
        "a web page saved under the name of a checkpoint: the link leads to a page, or asks to "
        "confirm the download; open it in a browser and save the file that it leads to",
    ),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with `git lfs pull`"),
)
# Where the tensors are: in most projects, and in maskrcnn-benchmark.
CONTAINERS = ("state_dict", "model")
FOLDED = "mmres_plugin_folded"  # marks folded models, in the meta data of their files


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict:
    """Open a checkpoint without running anything that it contains.

    Args:
        path: A ``.pth`` file in any of torch's formats, a ``.safetensors`` file, or an address
            that MMEngine knows, such as ``https://…`` or ``torchvision://resnet50``.
        map_location: Where the tensors of a ``.pth`` file go, as in :func:`torch.load`.

    Returns:
        What the file contains; of a safetensors file, ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is damaged, or would have to be run to be read.
    """
    if is_address(path):
        return _fetch(str(path))
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a checkpoint")
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint file {path}")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ValueError(f"{path} is empty")
    for start, kind in IMPOSTORS:
        if head.lstrip().startswith(start):
            raise ValueError(f"{path} is {kind}")
    if head[8:9] == b"{":  # eight bytes of length, then JSON
        with explain_errors(path):
            return _read_safetensors(path)
    return load_weights(path, map_location)


def is_address(path: str | Path) -> bool:
    """Whether MMEngine fetches ``path``; False for a file.

    Raises:
        ValueError: For an address that it does not know.
    """
    scheme, separator, _ = str(path).partition("://")
    if separator and CheckpointLoader._get_checkpoint_loader(str(path)) is _load_local:
        known = [n[:-3] for n in CheckpointLoader._schemes if re.fullmatch(r"[\w-]+://", n)]
        meant = did_you_mean(scheme, known)
        names = ", ".join(f"{name}://" for name in sorted(known))
        raise ValueError(f"{path}: no address starts with {scheme}://.{meant} There are: {names}")
    return bool(separator)


def open_checkpoint(path: str | Path, what: str) -> dict[str, Any]:
    """:func:`read_checkpoint` with errors for the command line.

    Args:
        path: The file, or an address that MMEngine knows.
        what: How the user named it (``--resume``, ``load_from`` …), for the message.

    Raises:
        UserError: If the file is missing, damaged or no checkpoint, or would run code.
    """
    hint = ""
    if "://" not in str(path):
        path = Path(path).expanduser().absolute()
        others = [file for file in path.parent.glob("*.pth") if file.name != path.name]
        latest = sorted(others, key=lambda file: file.stat().st_mtime)[-EXAMPLES:]
        names = ", ".join(file.name for file in latest)
        hint = f". {path.parent} holds: {names}." if names else ""
    with user_error(what, hint):
        content = read_checkpoint(path)
        find_state_dict(content, path)
    return dict(content)


def find_state_dict(checkpoint: Mapping, path: str | Path) -> dict[str, Tensor]:
    """The tensors in what :func:`read_checkpoint` returned, by their names in the file.

    Raises:
        ValueError: If there are none, or one of them has NaN or infinite values, or if they are of
            a folded model.
    """
    refuse_folded(checkpoint, path)
    for key in CONTAINERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    tensors = {}
    if isinstance(checkpoint, Mapping):
        tensors = {str(name): t for name, t in checkpoint.items() if isinstance(t, Tensor)}
    if not tensors:
        names = shortened(list(checkpoint)) if isinstance(checkpoint, Mapping) else ""
        content = f"the keys {names}" if names else f"a {type(checkpoint).__name__}"
        raise ValueError(f"{path} has no tensors where a checkpoint has them, but {content}")
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path} has NaN or infinite weights in {len(broken)} of {len(tensors)} tensors "
            f"({shortened(broken)}): the training has diverged or the file is damaged"
        )
    return tensors


def find_meta(checkpoint: object) -> dict:
    """What a training has noted in a checkpoint beside the tensors; empty if it has nothing."""
    meta = checkpoint.get("meta") if isinstance(checkpoint, Mapping) else None
    return dict(meta) if isinstance(meta, Mapping) else {}


def refuse_folded(checkpoint: object, path: str | Path) -> None:
    """Raise ValueError for the file of a folded model: elsewhere its tensors mean other numbers."""
    if FOLDED in find_meta(checkpoint):
        raise ValueError(
            f"{path} holds a folded model, which no other network can load: open it with "
            f"mmres_plugin.deploy.load_folded({str(path)!r})"
        )


def write_checkpoint(checkpoint: Mapping, path: str | Path) -> None:
    """Write ``state_dict`` and ``meta``: the whole file, or nothing.

    Args:
        checkpoint: A mapping with these two keys.
        path: A name that ends with ``.pth``, or with ``.safetensors``, where ``meta`` is kept as
            JSON. A file of that name is replaced.

    Raises:
        ValueError: For another ending.
    """
    path = checked_suffix(path)
    with atomic_write(path) as temporary:
        if path.suffix == ".pth":
            # An open file, since torch.save would write the name of a path into the file.
            with temporary.open("wb") as file:
                torch.save(dict(checkpoint), file)
        else:
            tensors = {
                name: t.clone(memory_format=torch.contiguous_format)
                for name, t in checkpoint["state_dict"].items()
            }
            _safetensors().save_file(tensors, temporary, {"meta": json.dumps(checkpoint["meta"])})


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when all is written, or else is removed.

    The folder is made if it is missing. What was written is on the disk before the name changes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def checked_suffix(path: str | Path) -> Path:
    """``path``, if its ending is one that :func:`write_checkpoint` writes; else a ValueError."""
    path = Path(path).expanduser()
    if path.suffix not in (".pth", ".safetensors"):
        raise ValueError(f"{path}: the name must end with .pth or .safetensors")
    return path


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).expanduser().open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _run_nothing(loader: Callable[..., dict]) -> Callable[..., dict]:
    """One of MMEngine's loaders, made to use ``weights_only``."""

    @functools.wraps(loader)
    def load(filename: str, map_location=None) -> dict:
        if files_are_trusted():
            return _weights(loader(filename, map_location), filename)
        with explain_errors(filename, KeyError, URLError), weights_only():
            checkpoint = loader(filename, map_location)
        return _weights(checkpoint, filename)

    return load


@functools.wraps(_load_from_local)  # MMEngine logs its name
def _load_local(filename: str, map_location=None) -> dict:
    if files_are_trusted() and not filename.endswith(".safetensors"):
        return _weights(_load_from_local(filename, map_location), filename)
    return _weights(read_checkpoint(filename, map_location), filename)


def _weights(checkpoint: dict, filename: str) -> dict:
    """A checkpoint for MMEngine, which loads the half that fits and runs a config in it."""
    refuse_folded(checkpoint, filename)
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        # On --resume it would be run, to compare the number of GPUs. MMEngine writes it as `cfg`.
        meta.pop("config", None)
    return checkpoint


def _change_loaders() -> None:
    """Put our loaders in the place of MMEngine's."""
    for prefix, loader in dict(CheckpointLoader._schemes).items():
        if "://" in prefix and not hasattr(loader, "__wrapped__"):
            CheckpointLoader.register_scheme(prefix, _run_nothing(loader), force=True)
    CheckpointLoader.register_scheme("", _load_local, force=True)


_change_loaders()


def _fetch(address: str) -> dict:
    """Have MMEngine fetch a checkpoint."""
    if address.endswith(".safetensors") and not address.startswith("hf://"):
        raise ValueError(f"{address}: safetensors files are read from disk: download it first")
    try:
        return CheckpointLoader.load_checkpoint(address, "cpu")
    except (KeyError, URLError) as error:
        raise ValueError(
            f"{address} could not be fetched ({type(error).__name__}: {error}): there is no such "
            "name or no connection"
        ) from error


def _read_safetensors(path: Path) -> dict:
    with _safetensors().safe_open(path, framework="pt") as file:  # pyright: ignore[reportPrivateImportUsage]
        meta = json.loads((file.metadata() or {}).get("meta", "{}"))
        names = file.keys()
        return {"meta": meta, "state_dict": {name: file.get_tensor(name) for name in names}}


def _safetensors():
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "safetensors files need a package that is not here: pip install safetensors"
        ) from error
    return safetensors.torch
