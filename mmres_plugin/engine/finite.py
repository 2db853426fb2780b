"""Training ends when a loss, a gradient or what a checkpoint holds is not finite."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, all_reduce_dict
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..errors import UserError, shortened

SKIPS = 20  # steps in a row that a loss scaler may leave out: it halves its scale each time


def not_finite(node: Any, name: str = "") -> Iterator[str]:
    """Names of the tensors within ``node``, nested dicts and lists, that have NaN or infinity."""
    if isinstance(node, Tensor):
        if not node.isfinite().all():
            yield name
    elif isinstance(node, Mapping | list | tuple):
        for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from not_finite(child, f"{name}.{key}".lstrip("."))


@HOOKS.register_module(force=True)  # again when the module is reloaded
class FiniteHook(Hook):
    """Ends a training whose loss or gradient is not finite, before the weights change.

    Under a loss scaler, which leaves out such steps by itself and goes on, the training ends after
    twenty of them in a row.
    """

    priority = "HIGHEST"  # the loss as this process has it, before the average is logged

    def before_train(self, runner: Runner) -> None:
        """Look at the gradients before each step of the optimizer."""
        wrapper: Any = runner.optim_wrapper
        self.wrappers = [wrapper]
        if isinstance(wrapper, OptimWrapperDict):
            self.wrappers = list(wrapper.values())
        self.scaled = any(hasattr(one, "loss_scaler") for one in self.wrappers)
        self.skipped, self.stepped, self.broken = 0, False, False
        self.window: list[tuple[Tensor, list[str]]] = []  # losses and images since the last step
        for one in self.wrappers if isinstance(self.wrappers[0], OptimWrapper) else ():
            one.optimizer.register_step_pre_hook(self._before_step)
            (one.clip_grad_kwargs or {}).pop("error_if_nonfinite", None)  # its error names nothing

    def _before_step(self, optimizer: torch.optim.Optimizer, *args: Any) -> None:
        self.stepped = True
        found = [p.grad for group in optimizer.param_groups for p in group["params"]]
        gradients = [grad for grad in found if grad is not None and not grad.is_sparse]
        norm = torch.nn.utils.get_total_norm(gradients, norm_type=float("inf"))
        if not norm.isfinite():
            self.broken = True
            optimizer.zero_grad()  # a step without gradients changes nothing

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """End the training if the loss or a gradient of this iteration was not finite."""
        loss = torch.as_tensor((outputs or {}).get("loss", 0.0)).detach().float()
        samples = data_batch.get("data_samples") if isinstance(data_batch, dict) else None
        self.window.append((loss, _images(samples)))
        if self.scaled:
            due = any(one.should_update() for one in self.wrappers)
            self.skipped = 0 if self.stepped else self.skipped + due
            broken = torch.tensor(self.broken or self.skipped >= SKIPS)
        else:
            broken = torch.tensor(self.broken or not loss.isfinite())
        broken = broken.int()
        all_reduce(broken, "max")
        if broken:
            raise UserError(self._problem(runner), "Stopped:")
        if self.stepped or self.skipped:
            self.window.clear()
        self.stepped = False

    def _problem(self, runner: Runner) -> str:
        window = [(float(loss), names) for loss, names in self.window]
        batches = [batch for one in all_gather_object(window) for batch in one]
        guilty = [batch for batch in batches if not math.isfinite(batch[0])] or batches
        losses = shortened([loss for loss, _ in guilty])
        names = shortened([name for _, images in guilty for name in images])
        rate = self.wrappers[0].optimizer.param_groups[0]["lr"]
        skipped = f", and the loss scaler has left out {SKIPS} steps in a row"
        return (
            f"the loss or a gradient is not finite in iteration {runner.iter + 1} (loss {losses}, "
            f"learning rate {rate:.3g}, images: {names}){skipped if self.scaled else ''}. The step "
            "was not taken, and the last checkpoint is intact. Look at the images, lower the "
            "learning rate or limit the gradients (--cfg-options "
            "optim_wrapper.clip_grad.max_norm=35), then use --resume."
        )


@HOOKS.register_module(force=True)
class AverageLossHook(Hook):
    """Logs losses averaged over all processes, instead of those of the first."""

    priority = 5  # between FiniteHook and the hook that collects what is logged

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Replace the losses of this process."""
        if runner.world_size > 1 and outputs:
            losses = {key: torch.as_tensor(value).clone() for key, value in outputs.items()}
            all_reduce_dict(losses, "mean")
            outputs.update(losses)


def _images(node: Any) -> list[str]:
    """The files from which the samples of a batch were read, as far as they say."""
    if isinstance(node, Mapping):  # some batches have several branches
        node = list(node.values())
    if isinstance(node, list | tuple):
        return [name for child in node for name in _images(child)]
    return [str(node.get("img_path", "?"))] if isinstance(node, BaseDataElement) else []
