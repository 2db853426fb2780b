"""SIGTERM and Ctrl-C end training cleanly, optionally after saving a checkpoint."""

import os
import signal
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@HOOKS.register_module(force=True)  # again when the module is reloaded
class EndOnSignalHook(Hook):
    """Ends a training when the process gets SIGTERM or SIGINT (Ctrl-C).

    Args:
        save: Whether to finish the step and save a checkpoint first. With several processes it is
            enough that one of them gets the signal. A second signal ends the training at once.
    """

    priority = "LOWEST"  # after everything else has been done for the step

    def __init__(self, save: bool = False) -> None:
        self.save = save
        self.received = 0

    def before_train(self, runner: Runner) -> None:
        """Take over the signals of this process, but not of those that load data for it."""
        process = os.getpid()

        def receive(number: int, frame: FrameType | None) -> None:
            if os.getpid() != process:
                return
            if self.received or not self.save:
                raise Interrupted(self._message(runner, number), number)
            self.received = number

        self.before = {number: signal.signal(number, receive) for number in SIGNALS}

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save and end if a signal has come."""
        self._end(runner, runner.iter + 1)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save and end if a signal has come; a resumed training does not validate again."""
        if runner.world_size == 1:  # else processes have different numbers of validation steps
            self._end(runner, runner.iter)

    def after_val_epoch(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Save and end if a signal has come."""
        self._end(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Give the signals back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _end(self, runner: Runner, iteration: int) -> None:
        if not self.save:
            return
        received = torch.tensor(self.received)
        all_reduce(received, "max")  # all processes must save after the same step
        if received:
            hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
            meta = dict(epoch=runner.epoch, iter=iteration)
            hook._save_checkpoint_with_step(runner, f"{runner.epoch}_iter_{iteration}", meta)
            raise Interrupted(self._message(runner, int(received)), int(received))

    @staticmethod
    def _message(runner: Runner, number: int) -> str:
        last = runner.message_hub.runtime_info.get("last_ckpt")
        kept = f"The last checkpoint is {last}." if last else "No checkpoint was saved yet."
        return (
            f"Stopped by {signal.Signals(number).name} in epoch {runner.epoch + 1}, after "
            f"{runner.iter} iterations. {kept} To continue, run the same command with --resume."
        )
