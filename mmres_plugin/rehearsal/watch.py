"""The model in the rehearsal: images are made small, strides are compared."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..config_parts import as_list
from ..errors import UserError

SIDE = 256  # pixels: with a stride of 128 a map still has 2×2 numbers, enough for a batch norm


def watch(model: nn.Module) -> dict[str, int]:
    """Attach the functions below to ``model`` as hooks; returns what they share."""
    seen: dict[str, int] = {"limit": SIDE}  # and the height of the images
    preprocessor = getattr(model, "data_preprocessor", None)
    if preprocessor is not None:
        preprocessor.register_forward_hook(partial(make_small, seen))
    for name, module in model.named_modules():
        priors = getattr(module, "prior_generator", None)
        strides = getattr(module, "featmap_strides", None) or getattr(priors, "strides", None)
        if strides:
            module.register_forward_pre_hook(partial(check_strides, seen, name, strides))
    return seen


def make_small(seen: dict, module: nn.Module, args: tuple, batch: Any) -> None:
    """Resize the images of a detector, and what is known of them, to ``SIDE`` squared."""
    images = batch.get("inputs") if isinstance(batch, dict) else None
    if not isinstance(images, Tensor):
        return
    if not images.isfinite().all():
        raise UserError(["model.data_preprocessor: its output is infinite or NaN. Is std zero?"])
    height, width = images.shape[-2:]
    samples = batch.get("data_samples") or []
    seen["height"] = height
    if not all(hasattr(type(s), "gt_instances") and "gt_sem_seg" not in s for s in samples):
        return
    for sample in samples:
        objects = sample.get("gt_instances")
        if module.training and (objects is None or "bboxes" not in objects):
            place = "train_dataloader.dataset.pipeline"
            raise UserError([f"{place} gives no boxes. Is LoadAnnotations missing?"])
    side = seen["limit"]
    if not samples or max(height, width) <= side:
        return
    batch["inputs"] = interpolate(images, (side, side))
    seen["height"] = side
    for sample in samples:
        for objects in (sample.get("gt_instances"), sample.get("ignored_instances")):
            if objects is not None and "bboxes" in objects:
                factors = (side / width, side / height) * 2
                objects.bboxes = objects.bboxes * objects.bboxes.new_tensor(factors)
            if objects is not None and "masks" in objects:
                objects.masks = objects.masks.resize((side, side))
        keys = ("img_shape", "pad_shape", "batch_input_shape")
        sizes: dict[str, tuple] = dict.fromkeys(keys, (side, side))
        if "ori_shape" in sample:
            sizes["scale_factor"] = tuple(side / own for own in sample.ori_shape[1::-1])
        sample.set_metainfo(sizes)


def check_strides(seen: dict, name: str, strides: Any, module: nn.Module, args: tuple) -> None:
    """Compare the strides that a head lays its boxes out for with those of the maps it gets."""
    maps = as_list(args[0]) if args else []
    if not maps or not all(isinstance(one, Tensor) and one.dim() == 4 for one in maps):
        return
    own = [max(as_list(stride)) for stride in strides]
    found = [round(seen["height"] / one.shape[-2]) for one in maps]
    # Sizes are rounded, so only a factor of two is sure to be a mistake, and a map of one row says
    # nothing: any larger stride gives one row too.
    wrong = [
        stride
        for stride, other, one in zip(own, found, maps, strict=False)
        if one.shape[-2] > 1 and not 0.55 < stride / other < 1.8
    ]
    # A head with one stride uses the first map alone (CondInst's masks).
    if "height" in seen and (wrong or len(own) not in (1, len(found))):
        raise UserError(
            [f"model.{name}: its strides are {own}, but the maps that it gets have {found}."]
        )
