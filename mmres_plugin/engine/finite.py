"""Losses and gradients that are not finite do not change the weights, and soon end the training."""

import functools
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, all_reduce_dict
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ..errors import UserError, shortened


@HOOKS.register_module(force=True)  # again when the module is reloaded
class FiniteHook(Hook):
    """Leaves out optimizer steps whose loss or gradient is not finite, and ends after a few.

    Such a step changes neither the weights nor the statistics of norms. With loss scaling,
    gradients may overflow, and the scaler leaves out those steps by itself; then only the loss is
    checked.

    Args:
        stop_after: The number of such steps in a row that ends the training; 0 for never.
    """

    priority = "HIGHEST"  # the loss as this process has it, before the average is logged

    def __init__(self, stop_after: int = 3) -> None:
        self.stop_after = stop_after
        self.count = 0

    def before_train(self, runner: Runner) -> None:
        """Look at the gradients before each step of the optimizer."""
        self.buffers = list(runner.model.buffers())
        self.kept = [buffer.clone() for buffer in self.buffers]
        self.wrapper: Any = runner.optim_wrapper
        wrapper = self.wrapper
        if isinstance(wrapper, OptimWrapper) and not hasattr(wrapper, "loss_scaler"):
            step = wrapper.step

            @functools.wraps(step)  # schedulers look for what they have added to it
            def guarded_step(**kwargs: Any) -> None:
                self.gradients_are_finite = _is_finite_everywhere(_gradients(wrapper))
                if self.gradients_are_finite:
                    step(**kwargs)

            wrapper.step = guarded_step

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Keep the statistics that a forward pass changes."""
        self.gradients_are_finite = True
        _copy(self.buffers, self.kept)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Count the step if it was not finite, and end the training after too many."""
        loss = torch.as_tensor((outputs or {}).get("loss", 0.0)).detach()
        if self.gradients_are_finite and _is_finite_everywhere([loss]):
            self.count = 0
            return
        self.count += 1
        _copy(self.kept, self.buffers)
        batches = all_gather_object((float(loss), _images(data_batch)))
        guilty = [batch for batch in batches if not torch.tensor(batch[0]).isfinite()] or batches
        losses = [loss for loss, _ in guilty]
        names = [name for _, images in guilty for name in images]
        rate = next(iter(self.wrapper.get_lr().values()))[0]
        what = (
            f"the loss or a gradient is not finite in iteration {runner.iter + 1} (loss "
            f"{shortened(losses)}, learning rate {rate:.3g}, images: {shortened(names)})"
        )
        if self.stop_after and self.count >= self.stop_after:
            raise UserError(
                [
                    f"{what}: {self.count} such steps in a row. None of them changed the weights, "
                    "and the last checkpoint is intact. Look at the images, lower the learning "
                    "rate or limit the gradients (--cfg-options "
                    "optim_wrapper.clip_grad.max_norm=35), then use --resume. To leave out any "
                    "number of such steps: --skip-non-finite"
                ],
                "Stopped:",
            )
        runner.logger.warning(f"{what}; the step is left out")


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


def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for one, other in zip(source, target, strict=True):
        other.copy_(one)


def _gradients(wrapper: OptimWrapper) -> list[Tensor]:
    groups = wrapper.optimizer.param_groups
    return [p.grad for group in groups for p in group["params"] if p.grad is not None]


def _is_finite_everywhere(tensors: list[Tensor]) -> bool:
    """Whether all these tensors are finite, in all processes."""
    largest = torch.nn.utils.get_total_norm(tensors, norm_type=float("inf"))
    broken = (~largest.isfinite()).int()
    all_reduce(broken, "max")
    return not broken


def _images(batch: Any) -> list[str]:
    """The files from which a batch was read, as far as it says."""
    samples = batch.get("data_samples", []) if isinstance(batch, dict) else []
    return [str(sample.get("img_path", "?")) for sample in samples]
