"""Open and write checkpoint files; nothing in them is run."""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from ..errors import EXAMPLES, did_you_mean, shortened, user_error
from .safe_loading import allowed_globals, weights_only

# What a file that is no checkpoint starts with, and what it is.
IMPOSTORS = {
    b"<": "a web page saved under the name of a checkpoint: open the link in a browser",
    b"version https://git-lfs": "a pointer of Git LFS: get the file itself with `git lfs pull`",
}
# Where projects put the tensors, and which they use where a file has several sets.
CONTAINERS = ("state_dict", "model", "model_state_dict", "model_ema", "net", "teacher", "module")
# What addresses start with. MMEngine does not say which it knows.
SCHEMES = ("http", "https", "torchvision", "modelzoo", "open-mmlab", "openmmlab", "mmcls")
SCHEMES += ("hf", "mmres_plugin", "s3", "petrel", "pavi")
# The files of Detectron are pickles of Caffe2's blobs.
CAFFE2 = re.compile(r"res\d_\d+_branch")
DETECTRON = (
    "Detectron's ResNets load by name: open-mmlab://detectron2/resnet50_caffe, resnet101_caffe"
)
ZIP = b"PK\x03\x04"  # how torch's own format starts
EPS = 1e-5  # of batch norms: a variance may be that far below 0
MOST_REPEATED = 1 << 30  # bytes of tensors that repeat what little the file holds


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict:
    """Open a checkpoint without running anything that it contains.

    Args:
        path: A ``.pth`` file in any of torch's formats, a ``.safetensors`` or ``.npz`` file, or an
            address that MMEngine knows, such as ``https://…`` or ``torchvision://resnet50``.
        map_location: Where the tensors of a ``.pth`` file go, as in :func:`torch.load`.

    Returns:
        What the file contains; of safetensors and NumPy files, ``state_dict`` and ``meta``.

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
    for start, kind in IMPOSTORS.items():
        if head.lstrip().startswith(start):
            raise ValueError(f"{path} is {kind}")
    with explain_errors(path):
        if head[8:9] == b"{":  # eight bytes of length, then JSON
            return _read_safetensors(path)
        if head.startswith(ZIP):
            _check_zip(path)
            if path.suffix == ".npz":
                return {"state_dict": _read_npz(path), "meta": {}}
        with torch.serialization.safe_globals(allowed_globals()):
            return torch.load(path, map_location=map_location, weights_only=True)


def is_address(path: str | Path) -> bool:
    """Whether ``path`` is an address to fetch a file from; False for a file.

    Raises:
        ValueError: For a misspelt one.
    """
    scheme, separator, _ = str(path).partition("://")
    meant = did_you_mean(scheme, SCHEMES)
    if separator and scheme not in SCHEMES and meant:
        raise ValueError(f"{path}: no address starts with {scheme}://.{meant}")
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


def find_state_dict(checkpoint: Any, path: str | Path) -> dict[str, Tensor]:
    """The tensors in what :func:`read_checkpoint` returned, by their names in the file.

    Raises:
        ValueError: If there are none, or some that no network can have.
    """
    if "mmres_plugin_folded" in find_meta(checkpoint):  # of version 0.1
        raise ValueError(f"{path} holds a folded model: use the checkpoint that it was made from")
    for key in CONTAINERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    entries = checkpoint if isinstance(checkpoint, Mapping) else {}
    tensors = {name: tensor for name, tensor in entries.items() if isinstance(tensor, Tensor)}
    if not tensors:
        kind = f"a {type(checkpoint).__name__}"
        content = f"the keys {shortened(list(entries))}" if entries else kind
        raise ValueError(f"{path} has no tensors where a checkpoint has them, but {content}")
    for what, broken in _faults(tensors):
        if broken:
            count = f"{len(broken)} of {len(tensors)} tensors ({shortened(broken)})"
            raise ValueError(f"{path} {what.format(count)}")
    return tensors


def find_meta(checkpoint: object) -> dict:
    """What a training has noted in a checkpoint beside the tensors; empty if it has nothing.

    What it says of the data set is left out where it is no dict.
    """
    meta = checkpoint.get("meta") if isinstance(checkpoint, Mapping) else None
    meta = dict(meta) if isinstance(meta, Mapping) else {}
    if not isinstance(meta.get("dataset_meta", {}), Mapping):
        del meta["dataset_meta"]
    return meta


def find_classes(checkpoint: object) -> tuple[str, ...]:
    """The names of the classes in a checkpoint, those of MMDetection 2 included; maybe none."""
    meta = find_meta(checkpoint)
    kept = meta.get("dataset_meta", {})
    found = kept.get("classes") or kept.get("CLASSES") or meta.get("CLASSES") or ()
    found = [found] if isinstance(found, str) else found
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def write_checkpoint(checkpoint: Mapping, path: str | Path) -> None:
    """Write ``state_dict`` and ``meta``: the whole file, or nothing.

    Args:
        checkpoint: A mapping with these two keys.
        path: A name that ends with ``.pth``, or with ``.safetensors``, where ``meta`` is kept as
            JSON beside a checksum. A file of that name is replaced.

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
            from safetensors.torch import save

            tensors = {n: t.contiguous().clone() for n, t in checkpoint["state_dict"].items()}
            meta = json.dumps(checkpoint["meta"], default=_as_list, skipkeys=True)
            notes = {"meta": meta, "sha256": _checksum(tensors)}
            temporary.write_bytes(save(tensors, notes))  # save_file keeps others from reading it


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


@contextmanager
def explain_errors(path: str | Path) -> Iterator[None]:
    """Turn the many errors of a file that cannot be read into a ValueError with a sentence."""
    try:
        yield
    except (FileNotFoundError, ImportError):
        raise
    except Exception as error:  # of damaged files torch raises whatever comes
        # Torch's message, without its advice to open the file unsafely.
        text = str(error).rpartition("WeightsUnpickler error:")[2].partition("Check the doc")[0]
        text = " ".join(text.split())
        reason = f"({type(error).__name__}: {text[:150]})"
        if needed := re.search(r"GLOBAL (\S+)", text):
            message = (
                f"was refused: reading it would run code ({needed[1]}), and nothing of it was run. "
                "Ask its authors for a state_dict; for a file of your own, see docs/weights.md"
            )
        elif "://" in str(path) and isinstance(error, KeyError | URLError):
            message = f"could not be fetched {reason}: there is no such name or no connection"
        elif "TorchScript" in text:
            message = "is a TorchScript program, not a checkpoint: ask for a state_dict"
        elif "magic number" in text:
            message = (
                "is a plain pickle, as Detectron and Detectron2 publish: if you trust its authors, "
                f"make an .npz file of it, as docs/weights.md shows. {DETECTRON}"
            )
        else:
            message = (
                "is not a checkpoint, or is damaged or not complete; nothing of it was run. "
                f"Download it again and compare its size {reason}"
            )
        raise ValueError(f"{path} {message}") from error


def _faults(tensors: Mapping[Any, Tensor]) -> Iterator[tuple[str, list]]:
    """What tensors of a network cannot be, and the names of those that are."""
    yield "has keys that are no names: {}", [n for n in tensors if not isinstance(n, str)]
    blobs = "has blobs of Caffe2, which hold norms without statistics: {}. " + DETECTRON
    yield blobs, [name for name in tensors if CAFFE2.match(name)]
    odd = "has what no network can load (quantized, nested, sparse, complex, float8, empty): {}"
    yield odd, [name for name, tensor in tensors.items() if not _is_plain(tensor)]
    weights = {name: tensor for name, tensor in tensors.items() if name.endswith("weight")}
    integers = "has integers in place of weights: {}. It is quantized, for a program of its own"
    yield integers, [name for name, tensor in weights.items() if not tensor.is_floating_point()]
    # A view that repeats a few numbers is small in the file, and fills all memory when it is used.
    repeated = [n for n, t in tensors.items() if t.nbytes > t.untyped_storage().nbytes()]
    too_many = sum(tensors[name].nbytes for name in repeated) > MOST_REPEATED
    yield "claims to hold far more numbers than it does: {}", repeated if too_many else []
    diverged = "has NaN or infinite weights in {}: the training has diverged or the file is damaged"
    yield diverged, [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    variances = [name for name in tensors if name.endswith("running_var")]
    negative = [name for name in variances if (tensors[name] < -EPS).any()]
    yield "has negative variances in {}: the file is damaged", negative


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is a plain array of real numbers."""
    if tensor.is_quantized or tensor.is_nested or tensor.is_complex() or tensor.is_meta:
        return False
    is_float8 = tensor.is_floating_point() and tensor.element_size() < 2
    return tensor.layout == torch.strided and not is_float8


def _check_zip(path: Path) -> None:
    """Raise ValueError for a ZIP file that torch has not written, or that has changed.

    Torch writes a checksum of each tensor into its files and never compares it. Arrays of NumPy may
    be compressed, though weights hardly shrink.
    """
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise ValueError("TorchScript")
        is_npz = path.suffix == ".npz"
        stored = is_npz or all(member.compress_type == zipfile.ZIP_STORED for member in members)
        most = path.stat().st_size * (2 if is_npz else 1)
        if not stored or sum(member.file_size for member in members) > most:
            raise ValueError("its parts are compressed, which torch never does")
        damaged = file.testzip()
    if damaged:
        raise ValueError(f"wrong checksum of {damaged}")


def _fetch(address: str) -> dict:
    """Have MMEngine fetch a checkpoint."""
    scheme = address.partition("://")[0]
    if address.endswith(".safetensors") and scheme != "hf":
        raise ValueError(f"{address}: safetensors files are read from disk: download it first")
    try:
        with explain_errors(address), weights_only():
            return CheckpointLoader.load_checkpoint(address, "cpu")
    except FileNotFoundError as error:  # what MMEngine takes for the name of a file
        if scheme in SCHEMES:
            raise
        raise ValueError(f"{address}: no address starts with {scheme}://") from error


@CheckpointLoader.register_scheme(prefixes=r"(?!.*://).*\.safetensors$", force=True)  # pyright: ignore[reportOptionalCall]
def load_from_safetensors(filename: str, map_location=None) -> dict:
    """MMEngine's loader of safetensors files, which it does not know: for ``get_model`` …"""
    return read_checkpoint(filename)


def _read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of a NumPy file, in the byte order of this machine."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {n: torch.from_numpy(a.astype(a.dtype.newbyteorder("="))) for n, a in arrays.items()}


def _as_list(value: Any) -> Any:
    """What JSON has no form for: numbers and arrays as lists, all else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _read_safetensors(path: Path) -> dict:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        notes = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if "sha256" in notes and notes["sha256"] != _checksum(tensors):
        raise ValueError("wrong checksum of its tensors")
    return {"meta": json.loads(notes.get("meta", "{}")), "state_dict": tensors}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of names, types, shapes and contents of contiguous tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
