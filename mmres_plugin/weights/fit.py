"""Does a state dict fit a model?"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ..errors import shortened

Shapes = dict[str, tuple[int, ...]]
# A file that fills less of a model than this is taken for the wrong file.
ENOUGH = 0.5


class Fit(NamedTuple):
    """How the tensors of a file fit those of a model.

    Attributes:
        fitting: Names that both have, with the same shape.
        missing: Names that only the model has.
        unused: Names that only the file has.
        reshaped: Names that both have, with the shapes in file and model if these differ.
        share: The share of the model's numbers that the file has.
    """

    fitting: list[str]
    missing: list[str]
    unused: list[str]
    reshaped: dict[str, str]
    share: float

    @property
    def differences(self) -> list[str]:
        """A sentence for each way in which the two differ; none if they fit."""
        reshaped = [f"{name} ({shapes})" for name, shapes in self.reshaped.items()]
        kinds = {
            "only in the model": self.missing,
            "only in the file": self.unused,
            "of another shape": reshaped,
        }
        return [
            f"{len(names)} {kind}: {shortened(names)}" for kind, names in kinds.items() if names
        ]


def shapes(state_dict: Mapping[str, Tensor]) -> Shapes:
    """Names and shapes of all tensors but the counters of batch norms, which nothing depends on.

    Files that were converted from elsewhere have no such counters.
    """
    return {
        name: tuple(tensor.shape)
        for name, tensor in state_dict.items()
        if isinstance(tensor, Tensor) and not name.endswith("num_batches_tracked")
    }


def compare(file: Shapes, model: Shapes) -> Fit:
    """How the tensors of ``file`` fit those of ``model``, both from :func:`shapes`."""
    fitting = [name for name, shape in file.items() if model.get(name) == shape]
    numbers = sum(map(math.prod, model.values()))
    return Fit(
        fitting=fitting,
        missing=[name for name in model if name not in file],
        unused=[name for name in file if name not in model],
        reshaped={
            name: f"file {file[name]}, model {model[name]}"
            for name in model
            if name in file and file[name] != model[name]
        },
        share=sum(math.prod(model[name]) for name in fitting) / max(numbers, 1),
    )
