"""Start a backbone from a checkpoint, and say what was loaded.

``init_cfg=dict(type='Pretrained', checkpoint=…, prefix='backbone.')`` of MMEngine loads what
happens to have the right names, which may be nothing. Our backbones count.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from torch import Tensor, nn

from ..errors import shortened
from ..hub import how_to_get, is_model
from .files import find_meta, find_state_dict, is_address, read_checkpoint
from .fit import ENOUGH, Fit, compare
from .image_settings import ImageSettings, expected_settings, style_problem
from .sources import WRAPPERS, recognise, rename

ALLOW_PARTIAL = "To load what there is, set allow_partial=True in init_cfg."
NORM = re.compile(r"(^|\.)(bn|gn|ln|in|norm)\d*\.\w+$|\.running_(mean|var)$")


def is_pretrained(cfg: Mapping) -> bool:
    """Whether an initialisation config is one of type ``Pretrained``."""
    return cfg.get("type") in ("Pretrained", PretrainedInit)


def load_pretrained(
    module: nn.Module,
    checkpoint: str,
    prefix: str | None = None,
    allow_partial: bool = False,
    map_location: str = "cpu",
) -> None:
    """Load the tensors of ``checkpoint`` that fit ``module``, and log how many they are.

    The arguments are those of MMEngine's ``Pretrained`` initialisation, and one more.

    Args:
        module: The backbone.
        checkpoint: A ``.pth`` or ``.safetensors`` file, or an address that MMEngine knows.
        prefix: What stands before the names of the backbone in the checkpoint, such as
            ``'backbone.'``; None if nothing does.
        allow_partial: Load even if next to nothing fits, or if the file is of another network.
        map_location: Accepted for MMEngine's sake; tensors are read on the CPU and copied to
            where the module is.

    Raises:
        FileNotFoundError: If there is no such file; the message says how to make it.
        ValueError: If the file is no checkpoint (see
            :func:`~mmres_plugin.weights.files.read_checkpoint`), if less than half of the
            backbone's weights are in it under these names, if it lacks a weight of a stage that
            stays frozen, or if the backbone has no place for a tensor of one of its stages, as
            when the file is of another family or depth. A stage that the backbone does not have
            at all may be in the file, and so may norms of another kind.
    """
    tensors, fit, settings = fitting_tensors(module, checkpoint, prefix, allow_partial)
    module.load_state_dict(tensors, strict=False)
    if hasattr(module, "_params_init_info"):  # MMEngine's record of where each weight is from
        update_init_info(module, init_info=f"loaded from {checkpoint}")
    remarks = "".join(f"; {difference}" for difference in fit.differences)
    print_log(
        f"loaded {len(fit.fitting)} of {fit.total} tensors of the backbone from {checkpoint}"
        f"{remarks}",
        logger="current",
        level=logging.WARNING if fit.missing or fit.reshaped else logging.INFO,
    )
    problem = style_problem(settings, module)
    if problem:
        print_log(f"{checkpoint}: {problem}", logger="current", level=logging.WARNING)


def fitting_tensors(
    module: nn.Module, checkpoint: str, prefix: str | None = None, allow_partial: bool = False
) -> tuple[dict[str, Tensor], Fit, ImageSettings | None]:
    """The tensors of ``checkpoint`` that fit, how all fit, and what images they are for.

    Arguments and errors are those of :func:`load_pretrained`; nothing is loaded.
    """
    if not is_address(checkpoint) and not Path(checkpoint).expanduser().is_file():
        raise FileNotFoundError(_missing(checkpoint))
    content = read_checkpoint(checkpoint)
    tensors = find_state_dict(content, checkpoint)
    settings = expected_settings(tensors, checkpoint, find_meta(content))
    tensors = {WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    prefix = prefix or ""
    if prefix and not prefix.endswith("."):
        prefix += "."
    named = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    fit = compare(module, named)
    conversion = _conversion(checkpoint, tensors)
    problem = next(_problems(module, tensors, fit, prefix, conversion), None)
    if problem and not allow_partial:
        raise ValueError(f"{checkpoint} {problem} {ALLOW_PARTIAL}")
    return fit.tensors, fit, settings


def _problems(
    module: nn.Module, tensors: Mapping[str, Tensor], fit: Fit, prefix: str, conversion: str
) -> Iterator[str]:
    """Why the module cannot start from these tensors, and what would help."""
    ours = module.state_dict()
    if fit.share < ENOUGH:
        yield (
            f"has only {len(fit.fitting)} of {fit.total} tensors of the backbone with "
            f"prefix={prefix or None!r}. The file has names such as {shortened(list(tensors), 3)}; "
            f"the backbone has {shortened(list(ours), 3)}. "
            f"{conversion or _other_prefix(module, tensors)}"
        )
    stages = {_stage(name) for name in ours} - {0}
    strange = [name for name in [*fit.unused, *fit.reshaped] if _stage(name) in stages]
    only_norms = all(NORM.search(name) for name in [*strange, *fit.missing])
    if strange and not only_norms:
        yield (
            "is of another network or depth: the backbone has no place for "
            f"{len(strange)} tensors of the file's stages ({shortened(strange)}). "
            f"{conversion}"
        )
    frozen = getattr(module, "frozen_stages", -1)
    random = [name for name in [*fit.missing, *fit.reshaped] if _stage(name) <= frozen]
    if random:
        yield (
            f"lacks {len(random)} tensors of stages that stay as they are, with "
            f"frozen_stages={frozen} ({shortened(random)}): set frozen_stages=-1 to train them. "
            f"{conversion}"
        )


def _stage(name: str) -> int:
    """2 for ``layer2.0.conv1.weight``; 0 for the stem and whatever else is in no stage."""
    found = re.match(r"layer(\d+)\.", name)
    return int(found[1]) if found else 0


def _missing(checkpoint: str) -> str:
    message = f"there is no checkpoint {checkpoint} (looked for in {Path.cwd()})."
    name = Path(checkpoint).stem
    if is_model(name):
        return f"{message} {how_to_get(name, checkpoint)}"
    return (
        f"{message} Train it first, or set init_cfg.checkpoint of the backbone to a file that is "
        "there; init_cfg=None starts without weights"
    )


def _conversion(checkpoint: str, tensors: Mapping[str, Tensor]) -> str:
    """How to convert a file with names of another source; empty if its names are ours."""
    try:
        source = recognise(tensors)
    except ValueError:
        return ""
    if all(new is None or new.endswith(name) for name, new in rename(tensors, source).items()):
        return ""
    return (
        f"These are names of {source!r}: convert the file, with mmres convert {checkpoint} DST, "
        "and load that with prefix='backbone.'."
    )


def _other_prefix(module: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """The prefix that would have worked, or that none would."""
    for start in sorted({name.partition("layer1.")[0] for name in tensors if "layer1." in name}):
        named = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        share = compare(module, named).share
        if share >= ENOUGH:
            return f"prefix={start or None!r} would match {share:.0%} of the backbone's weights."
    return "No other prefix would do: the file is of another network or depth."
