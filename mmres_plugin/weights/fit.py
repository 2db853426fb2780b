"""Does a state dict fit a model?"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

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

    Files that other programs have converted have no such counters.
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


def fit_problem(
    model: nn.Module, state: Mapping[str, Tensor], partial: bool = False
) -> tuple[str | None, str | None]:
    """Compare ``state`` with what ``model`` holds.

    Args:
        model: What is to be filled. May be changed: hand in one that is not needed any more.
        state: Tensors by name.
        partial: Whether it is enough that half of the model is filled.

    Returns:
        A problem or None, and a remark (it fits, but in part) or None. At most one of them is set.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    try:  # the real thing: models may rename old names while loading
        model.load_state_dict(state, strict=True)
        return None, None
    except RuntimeError:
        pass
    own = shapes(model.state_dict())
    fit = compare(shapes(state), own)
    if not fit.differences:
        return None, None
    count = f"{len(fit.fitting)} of the model's {len(own)} tensors are in the file with the same"
    text = "\n".join([f"{count} shape.", *fit.differences])
    return (None, text) if partial and fit.share >= ENOUGH else (text, None)
