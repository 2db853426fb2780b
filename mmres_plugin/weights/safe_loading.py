"""Have torch read a checkpoint without running anything in it, and explain why it cannot.

A ``.pth`` file is a pickle, and a pickle can be a program. Torch's ``weights_only`` reads tensors
and plain values, and refuses everything else.
"""

import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

CORES = ("core", "_core")  # of NumPy 1 and 2
FORCE_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
TRUST_FILES = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
ZIP = b"PK\x03\x04"  # how torch's own format starts


def load_weights(path: Path, map_location=None) -> dict:
    """What torch's ``weights_only`` reads from a file, if the file's own checksums are right.

    Torch writes a checksum of each tensor into its ZIP files and never compares it. Files in the
    format of before torch 1.6 have none.

    Args:
        path: A file in any of torch's formats.
        map_location: As in :func:`torch.load`.

    Raises:
        ValueError: If the file is no checkpoint, is damaged, or would have to be run to be read.
    """
    with explain_errors(path):
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP)) == ZIP
        if is_zip:
            with zipfile.ZipFile(path) as file:
                damaged = file.testzip()
            if damaged:
                raise ValueError(f"wrong checksum of {damaged}")
        with torch.serialization.safe_globals(allowed_globals()):
            return torch.load(path, map_location=map_location, weights_only=True)


@contextmanager
def weights_only() -> Iterator[None]:
    """Make every ``torch.load`` use ``weights_only``, whatever its caller asks for.

    MMEngine asks for nothing when it opens a download, and where ``weights_only`` fails it warns
    and opens the file again without it.
    """
    before = os.environ.get(FORCE_WEIGHTS_ONLY)
    os.environ[FORCE_WEIGHTS_ONLY] = "1"
    try:
        with torch.serialization.safe_globals(allowed_globals()):
            yield
    finally:
        if before is None:
            del os.environ[FORCE_WEIGHTS_ONLY]
        else:
            os.environ[FORCE_WEIGHTS_ONLY] = before


def files_are_trusted() -> bool:
    """Whether the user has set torch to open files without ``weights_only``."""
    return os.environ.get(TRUST_FILES, "0").lower() in ("1", "y", "yes", "true")


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
def explain_errors(path: str | Path, *unchanged: type[Exception]) -> Iterator[None]:
    """Turn the many errors of a file that cannot be read into a ValueError with a sentence.

    Args:
        path: The file, for the sentence.
        unchanged: Errors that are left as they are, beside ``FileNotFoundError`` and
            ``ImportError``.
    """
    try:
        yield
    except (FileNotFoundError, ImportError, *unchanged):
        raise
    except Exception as error:
        # Torch's message, without its advice to open the file unsafely.
        text = str(error).rpartition("WeightsUnpickler error:")[2].partition("Check the doc")[0]
        text = " ".join(text.split())
        needed = re.search(r"GLOBAL (\S+)", text)
        if needed:
            message = (
                f"was refused: reading it would run code ({needed[1]}), and nothing of it was run. "
                "Weights need no code: ask its authors for a state_dict or a safetensors file. "
                "For a file of your own, see docs/weights.md"
            )
        elif "TorchScript" in text:
            message = "is a TorchScript program, not a checkpoint: ask for a state_dict"
        else:
            message = (
                "is not a checkpoint, or is damaged or not complete; nothing of it was run. "
                f"Download it again and compare its size ({type(error).__name__}: {text[:150]})"
            )
        raise ValueError(f"{path} {message}") from error
