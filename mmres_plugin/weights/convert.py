"""Rename the tensors of a published checkpoint to those of an MMPretrain classifier."""

import re
from collections.abc import Mapping

from torch import Tensor

from .sources import SOURCES


def recognise(names) -> str:
    """The key in :data:`SOURCES` of the naming that ``names`` follow.

    Args:
        names: Names of the tensors of a state dict.

    Raises:
        ValueError: If they follow none.
    """
    for key, source in SOURCES.items():
        found = all(any(re.search(mark, name) for name in names) for mark in source.marks)
        if found and not any(re.search(mark, name) for mark in source.absent for name in names):
            return key
    raise ValueError(f'no known source names its tensors like this: {sorted(names)[:5]}')


def convert_state_dict(
    state_dict: Mapping[str, Tensor], source: str | None = None
) -> dict[str, Tensor]:
    """Rename ``state_dict`` as the rows of its source say.

    Args:
        state_dict: Tensors by the authors' names.
        source: A key of :data:`SOURCES`; None recognises it by the names.

    Returns:
        Tensors by the names ``backbone.…`` and ``head.fc.…``.
    """
    rows = SOURCES[source or recognise(state_dict)].rows
    converted = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in rows:
            name = re.sub(pattern, replacement, name)
        # The authors' SE layers are linear, MMPretrain's are 1×1 convolutions.
        if '.se_layer.' in name and name.endswith('weight') and tensor.dim() == 2:
            tensor = tensor[:, :, None, None]
        converted[name] = tensor
    return converted
