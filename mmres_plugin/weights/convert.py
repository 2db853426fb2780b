"""Make a checkpoint of MMPretrain's classifiers from a published file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from ..config import build_model, known_configs, load_config
from ..errors import shortened
from ..hub import hub_model
from ..version import __version__
from . import files
from .fit import OnMeta, compare
from .image_settings import expected_settings
from .sources import SOURCES, WRAPPERS, recognise, rename

# Counts that torch's averaging and measuring tools leave behind.
LEFTOVERS = re.compile(r"(^|\.)(n_averaged|total_ops|total_params)$")


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


def convert_names(
    state_dict: Mapping[str, Tensor], source: str | None = None, prefix: str | None = None
) -> Conversion:
    """:func:`convert_state_dict` with an account of every name.

    Args:
        state_dict: Tensors by the authors' names.
        source: A key of :data:`SOURCES`; None recognises it by the names.
        prefix: What stands before the names; tensors without it are dropped.

    Raises:
        ValueError: If the source is unknown or not recognised, has no rule for a name, or gives
            one name to two tensors.
    """
    start = WRAPPERS.sub("", prefix.rstrip(".") + ".") if prefix else ""
    plain = {name: WRAPPERS.sub("", name) for name in state_dict}
    wanted = {
        name: short.removeprefix(start)
        for name, short in plain.items()
        if short.startswith(start) and not LEFTOVERS.search(short)
    }
    if not wanted:
        raise ValueError(f"prefix: no name starts with {prefix}, but {shortened(list(plain))}")
    source = source or recognise(wanted.values())
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    conversion = Conversion(source, {}, {}, [name for name in plain if name not in wanted])
    new_names = rename(wanted.values(), source)
    for name, short in wanted.items():
        tensor, new_name = state_dict[name], new_names[short]
        if new_name is None:
            conversion.dropped.append(name)
            continue
        # The authors' SE layers are linear, MMPretrain's are 1×1 convolutions.
        if ".se_layer." in new_name and new_name.endswith("weight") and tensor.dim() == 2:
            tensor = tensor[:, :, None, None]
        if SOURCES[source].without_eps and new_name.endswith("running_var"):
            tensor = tensor - files.EPS  # our norms add it again
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
    src: str | Path,
    dst: str | Path,
    source: str | None = None,
    model: str | None = None,
    prefix: str | None = None,
) -> Conversion:
    """Convert a published file into a checkpoint that MMPretrain and MMDetection load.

    Nothing in the file is run. ``dst`` gets ``state_dict`` with the names ``backbone.…`` and
    ``head.…``, and ``meta`` with the source and the SHA-256 of ``src``. It is written as a whole or
    not at all.

    Args:
        src: A ``.pth``, ``.safetensors`` or ``.npz`` file, or an address that MMEngine knows.
        dst: The checkpoint to write, ``.pth`` or ``.safetensors``.
        source: A key of :data:`~mmres_plugin.weights.sources.SOURCES`; None recognises it.
        model: A model of the hub or the path of a config. The checkpoint must then fit it: the
            same names and shapes in the backbone and, if the file has a classifier, the head.
        prefix: What stands before the names of the network in the file, such as ``encoder_q.``.

    Returns:
        What became of each tensor.

    Raises:
        FileNotFoundError: If there is no ``src``.
        ValueError: If ``src`` is no checkpoint, is damaged, would run code, is of no known
            source, has NaN or infinite weights, or does not fit ``model``.
    """
    files.checked_suffix(dst)
    content = files.read_checkpoint(src)
    tensors = files.find_state_dict(content, src)
    images = expected_settings(tensors, str(src), files.find_meta(content))
    conversion = convert_names(tensors, source, prefix)
    if model is not None:
        _check_fit(conversion.state_dict, model)
    meta = {
        "source": SOURCES[conversion.source].title,
        "source_file": Path(src).name,
        "images": images.origin if images and images.is_known else None,
        "source_sha256": None if files.is_address(src) else files.sha256(src),
        "model": model,
        "mmres_plugin_version": __version__,
    }
    files.write_checkpoint({"meta": meta, "state_dict": conversion.state_dict}, dst)
    return conversion


def _check_fit(tensors: Mapping[str, Tensor], model: str) -> None:
    """Raise ValueError if the backbone and what else both have do not fit ``model``."""
    known = hub_model(model)
    named = known and known.config
    cfg = named or load_config(known_configs(Path()).get(model, model))
    with OnMeta():
        network = build_model(cfg)
    if network is None:
        raise ValueError(f"the config {model} has no 'model'")
    parts = {name.split(".")[0] for name in tensors}
    own = {part: child for part, child in network.named_children() if part in {*parts, "backbone"}}
    theirs = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] in own}
    fit = compare(nn.ModuleDict(own), theirs)
    if fit.problem:
        raise ValueError(f"the weights do not fit {model}. {fit.problem}".replace("\n", "\n  "))
