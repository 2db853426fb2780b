"""Make a checkpoint of MMPretrain's classifiers from a published file."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..errors import shortened
from ..version import __version__
from .files import (
    checked_suffix,
    find_meta,
    find_state_dict,
    is_address,
    read_checkpoint,
    sha256,
    write_checkpoint,
)
from .fitting_models import check_fit
from .image_settings import expected_settings
from .sources import SOURCES, Rows

WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")


class Conversion(NamedTuple):
    """What became of the tensors of a file.

    Attributes:
        source: A key of :data:`SOURCES`.
        state_dict: The tensors by MMPretrain's names.
        names: MMPretrain's names by the names in the file.
        dropped: Names in the file of the tensors that were left out.
    """

    source: str
    state_dict: dict[str, Tensor]
    names: dict[str, str]
    dropped: list[str]


def recognise(names: Iterable[str]) -> str:
    """The key in :data:`SOURCES` of the naming that ``names`` follow.

    Args:
        names: Names of the tensors of a state dict.

    Raises:
        ValueError: If they follow none.
    """
    names = [WRAPPERS.sub("", str(name)) for name in names]
    for key, source in SOURCES.items():
        found = all(any(re.search(mark, name) for name in names) for mark in source.marks)
        if found and not any(re.search(mark, name) for mark in source.absent for name in names):
            return key
    raise ValueError(
        f"no known source names its tensors like this: {shortened(sorted(names))}; known are "
        f"{', '.join(SOURCES)}"
    )


def convert_state_dict(
    state_dict: Mapping[str, Tensor], source: str | None = None
) -> dict[str, Tensor]:
    """Rename ``state_dict`` as the rows of its source say.

    Args:
        state_dict: Tensors by the authors' names.
        source: A key of :data:`SOURCES`; None recognises it by the names.

    Returns:
        Tensors by the names ``backbone.…`` and ``head.fc.…``.

    Raises:
        ValueError: As :func:`convert_names`.
    """
    return convert_names(state_dict, source).state_dict


def convert_names(state_dict: Mapping[str, Tensor], source: str | None = None) -> Conversion:
    """:func:`convert_state_dict` with an account of every name.

    Raises:
        ValueError: If the source is unknown or not recognised, has no rule for a name, or gives
            one name to two tensors.
    """
    source = source or recognise(state_dict)
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    conversion = Conversion(source, {}, {}, [])
    for name, tensor in state_dict.items():
        new_name = _rename(WRAPPERS.sub("", name), SOURCES[source].rows)
        if new_name is None:
            conversion.dropped.append(name)
            continue
        # The authors' SE layers are linear, MMPretrain's are 1×1 convolutions.
        if ".se_layer." in new_name and new_name.endswith("weight") and tensor.dim() == 2:
            tensor = tensor[:, :, None, None]
        if not new_name.startswith(("backbone.", "head.")):
            raise ValueError(f"source {source!r} has no rule for the tensor {name!r}")
        if new_name in conversion.state_dict:
            raise ValueError(f"two tensors would be called {new_name!r}; the second is {name!r}")
        conversion.state_dict[new_name] = tensor
        conversion.names[name] = new_name
    if not any(name.startswith("backbone.") for name in conversion.state_dict):
        raise ValueError(f"no tensor of a backbone is left by source {source!r}")
    return conversion


def convert_checkpoint(
    src: str | Path, dst: str | Path, source: str | None = None, model: str | None = None
) -> Conversion:
    """Convert a published file into a checkpoint that MMPretrain and MMDetection load.

    Nothing in the file is run. ``dst`` gets ``state_dict`` with the names ``backbone.…`` and
    ``head.…``, and ``meta`` with the source, what images it is for, the SHA-256 of ``src``, the
    model's name and the version of the plugin. It is written as a whole or not at all.

    Args:
        src: A ``.pth`` or ``.safetensors`` file, or an address that MMEngine knows.
        dst: The checkpoint to write, ``.pth`` or ``.safetensors``.
        source: A key of :data:`~mmres_plugin.weights.sources.SOURCES`; None recognises it.
        model: A model of the hub or the path of a config. The checkpoint must then fit it: the
            same names and shapes in the backbone and, if the file has a classifier, the head.

    Returns:
        What became of each tensor.

    Raises:
        FileNotFoundError: If there is no ``src``.
        ValueError: If ``src`` is no checkpoint, is damaged, would run code, is of no known
            source, has NaN or infinite weights, or does not fit ``model``.
    """
    checked_suffix(dst)
    content = read_checkpoint(src)
    tensors = find_state_dict(content, src)
    images = expected_settings(tensors, str(src), find_meta(content))
    conversion = convert_names(tensors, source)
    if model is not None:
        check_fit(conversion.state_dict, model)
    meta = {
        "source": SOURCES[conversion.source].title,
        "source_file": Path(src).name,
        "images": images and images.origin,
        "source_sha256": None if is_address(src) else sha256(src),
        "model": model,
        "mmres_plugin_version": __version__,
    }
    write_checkpoint({"meta": meta, "state_dict": conversion.state_dict}, dst)
    return conversion


def _rename(name: str, rows: Rows) -> str | None:
    for pattern, replacement in rows:
        if replacement is None:
            if re.search(pattern, name):
                return None
        else:
            name = re.sub(pattern, replacement, name)
    return name
