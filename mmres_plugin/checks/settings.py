"""Settings that do nothing: nobody reads them, or they come too late."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from ..config_parts import type_name
from ..errors import did_you_mean
from .faults import Remark
from .setup import Setup

# What MMEngine's constructor of optimizers reads, of all and of each of ``custom_keys``.
PARAMWISE = {"custom_keys", "bypass_duplicate", "dcn_offset_lr_mult", "bias_lr_mult"}
PARAMWISE |= {"bias_decay_mult", "norm_decay_mult", "flat_decay_mult", "dwconv_decay_mult"}
CUSTOM = {"lr_mult", "decay_mult"}
# Keys that the schedules of MMPretrain and MMDetection have for whatever network comes.
USUAL = {"absolute_pos_embed", "relative_position_bias_table"}
# What dense heads and those of regions read in ``test_cfg``.
TEST_CFG = {"nms_pre", "min_bbox_size", "score_thr", "nms", "max_per_img", "mask_thr_binary"}
# What some read that looks like those.
ALIKE = {"max_per_image", "mask_thr", "mask_overlap", "nms_post", "nms_across_levels"}
ALIKE |= {"score_voting", "min_pseudo_bbox_wh", "max_num_grid", "max_text_len"}


def idle_settings(setup: Setup, model: nn.Module | None) -> Iterator[Remark]:
    """A remark for each setting of a training that does nothing."""
    wrapper = setup.section("optim_wrapper")
    paramwise = wrapper.get("paramwise_cfg") or {}
    key = "optim_wrapper.paramwise_cfg"
    custom_keys = paramwise.get("custom_keys") or {}
    if wrapper.get("constructor") in (None, "DefaultOptimWrapperConstructor"):
        yield from slips(paramwise, PARAMWISE, key)
        for name, one in custom_keys.items():
            yield from slips(one, CUSTOM, f"{key}.custom_keys.{name}")
    parameters = [name for name, _ in model.named_parameters()] if model is not None else []
    for name in custom_keys if parameters else ():
        if name.strip(".") not in USUAL and not any(name in parameter for parameter in parameters):
            meant = did_you_mean(name, {word for one in parameters for word in one.split(".")})
            yield Remark(f"{key}.custom_keys.{name}: no parameter has this in its name.{meant}")
    if setup.scope == "mmdet":
        test_cfg = setup.section("model").get("test_cfg") or {}
        yield from slips(test_cfg, TEST_CFG, "model.test_cfg")
        for part in ("rpn", "rcnn"):
            yield from slips(test_cfg.get(part), TEST_CFG, f"model.test_cfg.{part}")
    yield from never(setup)


def impossible_settings(setup: Setup) -> Iterator[str]:
    """An error for each setting that would stop a training late, or let it do nothing."""
    interval = setup.section("train_cfg").get("val_interval", 1)
    if not isinstance(interval, int) or interval < 1:
        yield f"train_cfg.val_interval is {interval!r}, must be an integer of 1 or more"
    hook = setup.checkpoint_hook
    interval = hook.get("interval", 1) if isinstance(hook, Mapping) else 1
    if not isinstance(interval, int):
        yield f"default_hooks.checkpoint.interval is {interval!r}, must be an integer"
    loader = setup.loaders.get("train", {})
    size = loader.get("batch_size")
    for data in setup.sets:
        few = isinstance(size, int) and 0 < len(data.images) < size
        if data.key == "train_dataloader.dataset" and few and loader.get("drop_last"):
            yield (
                f"train_dataloader: gives no batch, as drop_last=True leaves out the last one: its "
                f"batch_size is {size}, and the data set has {len(data.images)} images"
            )


def slips(settings: Any, known: set[str], key: str) -> Iterator[Remark]:
    """A remark for each setting that is probably meant to be one of ``known``.

    They look alike, or start with the same word: ``score_treshold`` for ``score_thr``.
    """
    for name in settings if isinstance(settings, Mapping) else ():
        meant = did_you_mean(name, known)
        start = name.partition("_")[0]
        same = [other for other in known if other.startswith(f"{start}_") and "_" in name]
        if name not in known | ALIKE and (meant or len(same) == 1):
            meant = meant or f" Did you mean '{same[0]}'?"
            yield Remark(f"{key}.{name}: nothing is known to read this.{meant}")


def never(setup: Setup) -> Iterator[Remark]:
    """A remark where nothing is ever saved or validated."""
    loop = setup.section("train_cfg")
    unit = "max_epochs" if loop.get("max_epochs") else "max_iters"
    last, begin = loop.get(unit), loop.get("val_begin", 1)
    if not isinstance(last, int) or not isinstance(begin, int):
        return
    if begin > last and "val" in setup.loops:
        yield Remark(f"train_cfg.val_begin is {begin}, after {unit}={last}: nothing is validated")
    hook = setup.checkpoint_hook
    if hook is None:
        yield Remark("default_hooks.checkpoint is None: no checkpoint is saved")
    elif isinstance(hook, Mapping) and type_name(hook).endswith("CheckpointHook"):
        interval, by_epoch = hook.get("interval", -1), hook.get("by_epoch", True)
        if hook.get("save_last", True) or not isinstance(interval, int):
            return
        if interval < 1 or (by_epoch == (unit == "max_epochs") and interval > last):
            yield Remark(
                f"default_hooks.checkpoint.interval is {interval}, with {unit}={last} and "
                "save_last=False: no checkpoint is saved, except the best if save_best is set"
            )
