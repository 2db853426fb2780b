"""Have torch read checkpoints without running anything in them.

A ``.pth`` file is a pickle, and a pickle can be a program. Torch's ``weights_only`` reads tensors
and plain values, and refuses everything else. MMEngine asks for it, but where it fails opens the
file again without it.
"""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
TRUST = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def load_safely() -> None:
    """From now on, no ``torch.load`` of this process runs what a file holds, whoever calls it.

    All ``mmres`` commands call this once their arguments are right. A user who has set torch's own
    ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` keeps it: torch refuses to have both.
    """
    if os.environ.get(TRUST, "0").lower() not in ("1", "y", "yes", "true"):
        os.environ[FORCE] = "1"
    torch.serialization.add_safe_globals(allowed_globals())


@contextmanager
def weights_only() -> Iterator[None]:
    """The same for a block of code, whatever the environment says."""
    before = {name: os.environ.pop(name, None) for name in (FORCE, TRUST)}
    os.environ[FORCE] = "1"
    try:
        with torch.serialization.safe_globals(allowed_globals()):
            yield
    finally:
        del os.environ[FORCE]
        os.environ.update({name: value for name, value in before.items() if value is not None})


class DropConfig(Hook):
    """Takes the text of a config out of a checkpoint: MMEngine would run it when it resumes.

    It is compared with the number of GPUs. MMEngine itself writes it under another name.
    """

    priority = "VERY_HIGH"

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called by MMEngine's runner before it looks into the checkpoint."""
        meta = checkpoint.get("meta")
        if isinstance(meta, dict):
            meta.pop("config", None)


def allowed_globals() -> list:
    """What MMEngine's own checkpoints contain beside tensors: logged numbers, in NumPy's arrays.

    Without what torch allows already, since ``safe_globals`` forbids at its end what it was given.
    A ``HistoryBuffer`` comes with references to its methods, pickled as calls of ``getattr``;
    these are resolved for it alone. NumPy 2 has renamed the module of its constructors, and files
    of before have the old name.
    """
    array = np.zeros(1).__reduce__()[0]
    number = np.float64(0).__reduce__()[0]
    names = [("_reconstruct", array), ("scalar", number)]
    cores = ("core", "_core")
    allowed = [
        *(slice, np.ndarray, np.dtype, HistoryBuffer),
        *(type(np.dtype(kind)) for kind in ("uint32", "int64", "float32", "float64", "bool")),
        *((made, f"numpy.{core}.multiarray.{n}") for n, made in names for core in cores),
        (_history_buffer_method, "builtins.getattr"),
    ]
    return [one for one in allowed if one not in torch.serialization.get_safe_globals()]


def _history_buffer_method(owner: type, name: str):
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {owner!r}, {name!r}")
    return getattr(owner, name)
