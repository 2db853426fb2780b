"""Names and shapes of the tensors of a file, and how they differ from those of a model."""

from collections.abc import Mapping

from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
EXAMPLES = 5  # names shown of each kind of difference


def shapes(state_dict: Mapping[str, Tensor]) -> Shapes:
    """Names and shapes of all tensors but the counters of batch norms, which nothing depends on.

    Files that were converted from elsewhere have no such counters.
    """
    return {
        name: tuple(tensor.shape)
        for name, tensor in state_dict.items()
        if isinstance(tensor, Tensor) and not name.endswith("num_batches_tracked")
    }


def differences(file: Shapes, model: Shapes) -> list[str]:
    """A sentence for each way in which the two differ; none if they fit."""
    reshaped = [
        f"{name} (file {file[name]}, model {model[name]})"
        for name in model
        if name in file and file[name] != model[name]
    ]
    kinds = (
        ("only in the model", [name for name in model if name not in file]),
        ("only in the file", [name for name in file if name not in model]),
        ("of another shape", reshaped),
    )
    return [f"{len(names)} {kind}: {shortened(names)}" for kind, names in kinds if names]


def shortened(names: list[str]) -> str:
    """The first few of ``names``."""
    return ", ".join(names[:EXAMPLES]) + (", …" if len(names) > EXAMPLES else "")
