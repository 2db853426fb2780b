"""Which of the shipped models does a state dict fit?"""

import functools
import re
from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.apis.model import ModelHub, list_models
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..config import load_config
from ..config_parts import type_name
from ..errors import UserError
from ..hub import MODEL_SUFFIX, ROOT, is_model
from .fit import Shapes, compare, shapes


def check_fit(state_dict: Mapping[str, Tensor], model: str) -> None:
    """Check names and shapes of ``state_dict`` against those of ``model``.

    The parts that both have (``backbone``, ``head``) are compared: a detector has no use for a
    classifier's head. The counters of batch norms (``num_batches_tracked``) may be missing.

    Args:
        state_dict: Tensors by MMPretrain's names.
        model: A model of the hub or the path of a config.

    Raises:
        UserError: If ``model`` is a path, and its config cannot be read or has no model.
        ValueError: If there is no such model, it cannot be built, or names or shapes differ; the
            message says how, and which models fit.
    """
    cfg = model_config(model)
    theirs = shapes(state_dict)
    ours = model_shapes(cfg)
    found = _differences(theirs, ours)
    if not found:
        return
    message = [f"the weights do not fit {model}."]
    fits = fitting_models(theirs)
    own = type_name(cfg.model.get("backbone", {}))
    same_family = [name for name, network in fits.items() if network == own]
    if same_family:
        message.append(f"They are of another depth or width and fit {', '.join(same_family)}.")
    elif fits:
        message.append(f"They are of another family and fit {', '.join(fits)}.")
    elif stage_blocks(theirs) != stage_blocks(ours):
        message.append(
            f"They have {stage_blocks(theirs)} blocks per stage, the model {stage_blocks(ours)}: "
            "another depth. No model that is shipped fits."
        )
    else:
        message.append("No model that is shipped fits.")
    raise ValueError("\n  ".join([" ".join(message), *found]))


def fitting_models(theirs: Shapes) -> dict[str, str]:
    """Shipped classifiers with these names and shapes, with the class of their backbone."""
    blocks = stage_blocks(theirs)
    names = [path.stem for path in sorted((ROOT / "configs").glob(f"*/*{MODEL_SUFFIX}.py"))]
    names += list_models(f"resnet*{MODEL_SUFFIX}")
    found = {}
    other_depths = set()
    for name in names:
        # The number before the first dash. Reading a config takes a while, so of each depth that
        # has other blocks only one is read.
        depth = re.findall(r"(\d+)[-_]", name)[0]
        if depth in other_depths:
            continue
        network, ours = _shipped(name)
        if stage_blocks(ours) != blocks:
            other_depths.add(depth)
        elif not _differences(theirs, ours):
            found[name] = network
    return found


def model_config(model: str) -> Config:
    """The config of a model of the hub, or the one at a path.

    Raises:
        UserError: If it is a path, and its config cannot be read or has no model.
        ValueError: If it is the name of no model.
    """
    if is_model(model):
        return load_config(next((ROOT / "configs").glob(f"*/{model}.py")))
    if not model.endswith(".py"):
        return ModelHub.get(model).config
    cfg = load_config(model)
    if "model" not in cfg:
        raise UserError([f"the config {model} has no 'model'"])
    return cfg


def model_shapes(cfg: Config) -> Shapes:
    """Names and shapes of the tensors of the model in ``cfg``, which is built without memory.

    Raises:
        ValueError: If it cannot be built.
    """
    scope = cfg.get("default_scope", "mmpretrain")
    try:
        with OnMeta(), DefaultScope.overwrite_default_scope(scope):
            return shapes(MODELS.build(cfg.model).state_dict())
    except Exception as error:  # constructors raise whatever they like
        raise ValueError(f"the model of {cfg.filename} cannot be built: {error}") from error


def stage_blocks(names: Mapping[str, object]) -> list[int]:
    """Number of blocks of each stage that the names of a backbone speak of."""
    blocks: dict[str, int] = {}
    for name in names:
        found = re.match(r"backbone\.layer(\d)\.(\d+)\.", name)
        if found:
            blocks[found[1]] = max(blocks.get(found[1], 0), int(found[2]) + 1)
    return [blocks[stage] for stage in sorted(blocks)]


def _differences(file: Shapes, model: Shapes) -> list[str]:
    """Differences in the parts that both have, and in any case in the backbone."""
    parts = {name.split(".")[0] for name in file} & {name.split(".")[0] for name in model}
    parts.add("backbone")
    file, model = (
        {name: table[name] for name in table if name.split(".")[0] in parts}
        for table in (file, model)
    )
    return compare(file, model).differences


@functools.cache
def _shipped(name: str) -> tuple[str, Shapes]:
    """Class of the backbone, and names and shapes, of a shipped classifier."""
    cfg = model_config(name)
    return type_name(cfg.model.get("backbone", {})), model_shapes(cfg)


class OnMeta(TorchFunctionMode):
    """Parameters and buffers are made on the meta device, which takes neither time nor memory.

    ``torch.device('meta')`` would also take numbers that the constructors compute with.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones):
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)
