"""Does a state dict fit a model? And models without memory, to ask that of."""

import copy
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import shortened

# A file that fills less of a model than this is taken for the wrong file.
ENOUGH = 0.5


class Fit(NamedTuple):
    """How the tensors of a file fit those of a model; the counters of norms are left out.

    Attributes:
        tensors: Those that fit by name and shape, counters too, for ``model.load_state_dict(
            fit.tensors, strict=False)``.
        fitting: Their names.
        total: How many the model has.
        missing: Names that only the model has.
        unused: Names that only the file has.
        reshaped: Names that both have, with the shapes in file and model where these differ.
        share: The share of the model's numbers that the file has.
    """

    tensors: dict[str, Tensor]
    fitting: list[str]
    total: int
    missing: list[str]
    unused: list[str]
    reshaped: dict[str, str]
    share: float

    @property
    def differences(self) -> list[str]:
        """A sentence for each way in which the two differ; none if they fit."""
        kinds = {
            "only in the model": self.missing,
            "only in the file": self.unused,
            "of another shape": [f"{name} ({both})" for name, both in self.reshaped.items()],
        }
        return [f"{len(n)} {kind}: {shortened(n)}" for kind, n in kinds.items() if n]

    @property
    def problem(self) -> str | None:
        """What to tell where the whole model must be filled, or None."""
        count = f"{len(self.fitting)} of the model's {self.total} tensors are in the file with the"
        return "\n".join([f"{count} same shape.", *self.differences]) if self.differences else None


def compare(model: nn.Module, tensors: Mapping[str, Tensor]) -> Fit:
    """How ``tensors`` fit ``model``, which stays as it is.

    Args:
        model: What is to be filled.
        tensors: Tensors by name, with DataParallel's prefix ``module.`` or without. Counters of
            batch norms may be missing, as in files that other programs have made: nothing depends
            on them.
    """
    tensors = {n.removeprefix("module."): t for n, t in tensors.items() if isinstance(t, Tensor)}
    own = model.state_dict()
    fitting = {n: t for n, t in tensors.items() if n in own and own[n].shape == t.shape}
    file, ours, both = map(_counted, (tensors, own, fitting))
    fit = Fit(
        tensors=fitting,
        fitting=both,
        total=len(ours),
        missing=[name for name in ours if name not in tensors],
        unused=[name for name in file if name not in own],
        reshaped={
            name: f"file {tuple(tensors[name].shape)}, model {tuple(own[name].shape)}"
            for name in ours
            if name in tensors and name not in fitting
        },
        share=sum(own[n].numel() for n in both) / max(sum(own[n].numel() for n in ours), 1),
    )
    if fit.differences and _renames(model, tensors):
        return Fit(tensors, ours, len(ours), [], [], {}, 1.0)
    return fit


def _counted(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith("num_batches_tracked")]


def _renames(model: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the model takes the tensors all the same: some rename old names while they load."""
    try:
        twin = copy.deepcopy(model).to("meta")
        # Assigned, since copying to the meta device makes torch warn.
        twin.load_state_dict({name: t.to("meta") for name, t in tensors.items()}, assign=True)
    except Exception:  # it does not fit; hooks that rename raise whatever comes
        return False
    return True


class OnMeta(TorchFunctionMode):
    """Parameters and buffers are made on the meta device, which takes neither time nor memory.

    ``torch.device('meta')`` would also take numbers that the constructors compute with.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones):
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)
