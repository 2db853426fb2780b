"""Open and write checkpoint files.

A ``.pth`` file is a pickle, and a pickle can be a program. Files are opened so that nothing in
them is run: with torch's ``weights_only``, or as safetensors.
"""

import hashlib
import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local as _load_from_local
from torch import Tensor

# What a file that is no checkpoint starts with, and what it is.
IMPOSTORS = (
    (
        b"<",
        "a web page saved under the name of a checkpoint: the link leads to a page, or asks to "
        "confirm the download; open it in a browser and save the file behind it",
    ),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with `git lfs pull`"),
)
# Where the tensors are: in most projects, and in maskrcnn-benchmark.
CONTAINERS = ("state_dict", "model")
FOLDED = "mmres_plugin_folded"  # marks folded models, in the meta data of their files
CORES = ("core", "_core")  # of NumPy 1 and 2
FORCE_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read_checkpoint(path: str | Path) -> dict:
    """Open a checkpoint without running anything that it contains, on the CPU.

    Args:
        path: A ``.pth`` file in any of torch's formats, a ``.safetensors`` file, or an address
            that MMEngine knows, such as ``https://…`` or ``torchvision://resnet50``.

    Returns:
        What the file contains; of a safetensors file, ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is damaged, or would have to be run to be read.
    """
    if "://" in str(path):
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
    with _explain_errors(path):
        if head[8:9] == b"{":  # eight bytes of length, then JSON
            return _read_safetensors(path)
        with torch.serialization.safe_globals(allowed_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)


def find_state_dict(checkpoint: Mapping, path: str | Path) -> dict[str, Tensor]:
    """The tensors in what :func:`read_checkpoint` returned, by their names in the file.

    Raises:
        ValueError: If there are none, or one of them is not a number everywhere, or if they are of
            a folded model.
    """
    refuse_folded(checkpoint, path)
    for key in CONTAINERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    tensors = {}
    if isinstance(checkpoint, Mapping):
        tensors = {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        content = list(checkpoint)[:8] if isinstance(checkpoint, Mapping) else type(checkpoint)
        raise ValueError(f"{path} has no tensors where a checkpoint has them, but {content}")
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{path} has NaN or infinite weights in {len(broken)} of {len(tensors)} tensors "
            f"({', '.join(broken[:3])}): the training has diverged or the file is damaged"
        )
    return tensors


def refuse_folded(checkpoint: object, path: str | Path) -> None:
    """Raise ValueError for the file of a folded model: elsewhere its tensors mean other numbers."""
    meta = checkpoint.get("meta") if isinstance(checkpoint, Mapping) else None
    if isinstance(meta, Mapping) and FOLDED in meta:
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
    with whole(path) as half:
        if path.suffix == ".pth":
            # An open file, since torch.save would write the name of a path into the file.
            with half.open("wb") as file:
                torch.save(dict(checkpoint), file)
        else:
            tensors = {name: t.contiguous() for name, t in checkpoint["state_dict"].items()}
            _safetensors().save_file(tensors, half, {"meta": json.dumps(checkpoint["meta"])})


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when all is written, or else is removed.

    The folder is made if it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield half
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


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


@CheckpointLoader.register_scheme(prefixes="", force=True)  # pyright: ignore[reportOptionalCall]
def load_from_local(filename: str, map_location=None) -> dict:
    """MMEngine's loader of local files, which would load the half of a folded model that fits."""
    checkpoint = _load_from_local(filename, map_location)
    refuse_folded(checkpoint, filename)
    return checkpoint


@CheckpointLoader.register_scheme(prefixes=r".*\.safetensors$", force=True)  # pyright: ignore[reportOptionalCall]
def load_from_safetensors(filename: str, map_location=None) -> dict:
    """Loader of local safetensors files, for which MMEngine has none."""
    return read_checkpoint(filename)


def _fetch(address: str) -> dict:
    """Have MMEngine fetch a checkpoint, but without its second try.

    Where ``weights_only`` fails, MMEngine warns and opens the file unsafely; for downloads it does
    not even ask for ``weights_only``. Torch has a switch to refuse both.
    """
    if address.endswith(".safetensors"):
        raise ValueError(f"{address}: safetensors files are read from disk: download it first")
    before = os.environ.get(FORCE_WEIGHTS_ONLY)
    os.environ[FORCE_WEIGHTS_ONLY] = "1"
    try:
        with _explain_errors(address), torch.serialization.safe_globals(allowed_globals()):
            return CheckpointLoader.load_checkpoint(address, "cpu")
    except (KeyError, URLError) as error:
        raise ValueError(
            f"{address} could not be fetched ({type(error).__name__}: {error}): there is no such "
            "name or no connection"
        ) from error
    finally:
        if before is None:
            del os.environ[FORCE_WEIGHTS_ONLY]
        else:
            os.environ[FORCE_WEIGHTS_ONLY] = before


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


def allowed_globals() -> list:
    """What MMEngine's own checkpoints contain beside tensors: logged numbers, in NumPy's arrays.

    A ``HistoryBuffer`` comes with references to its methods, pickled as calls of ``getattr``;
    these are resolved for it alone. NumPy 2 has renamed the module of its constructors, and files
    of before have the old name.
    """
    array = np.zeros(1).__reduce__()[0]
    number = np.float64(0).__reduce__()[0]
    names = [("_reconstruct", array), ("scalar", number)]
    return [
        *(slice, np.ndarray, np.dtype, HistoryBuffer),
        *(type(np.dtype(kind)) for kind in ("uint32", "int64", "float32", "float64", "bool")),
        *((made, f"numpy.{core}.multiarray.{n}") for n, made in names for core in CORES),
        (_history_buffer_method, "builtins.getattr"),
    ]


def _history_buffer_method(owner: type, name: str):
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {owner!r}, {name!r}")
    return getattr(owner, name)


@contextmanager
def _explain_errors(path: str | Path) -> Iterator[None]:
    """Turn the many errors of a file that cannot be read into sentences."""
    try:
        yield
    except (FileNotFoundError, ImportError, KeyError, URLError):
        raise
    except Exception as error:
        # Torch's message, without its advice to open the file unsafely.
        text = str(error).rpartition("WeightsUnpickler error:")[2].partition("Check the doc")[0]
        text = " ".join(text.split())
        needed = re.search(r"GLOBAL (\S+)", text)
        if needed:
            message = (
                f"was refused: reading it would run code ({needed[1]}), and nothing of it was run. "
                "Weights need no code: ask its authors for a state_dict or a safetensors file"
            )
        elif "TorchScript" in text:
            message = "is a TorchScript program, not a checkpoint: ask for a state_dict"
        else:
            message = (
                "is not a checkpoint, or is damaged or not complete; nothing of it was run. "
                f"Download it again and compare its size ({type(error).__name__}: {text[:150]})"
            )
        raise ValueError(f"{path} {message}") from error
