"""SIGTERM and Ctrl-C end a run in order: a handler notes the signal, a safe moment acts on it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Listener:
    """The handler of both signals.

    Attributes:
        noted: The number of the signal that has come, or 0.
        waits: Whether a safe moment will come; else the signal raises Interrupted at once.
        listens: Whether :func:`listening` lasts, in memory that the workers of loaders share.
    """

    def __init__(self) -> None:
        self.noted, self.waits = 0, False
        self.before: dict[int, Any] = {}
        self.listens = RawValue("b", 0)
        # Children end as they would without it, also by a signal that comes while they are made:
        # Python forgets one that a child has before it runs.
        os.register_at_fork(
            before=partial(self._mask, signal.SIG_BLOCK),
            after_in_parent=partial(self._mask, signal.SIG_UNBLOCK),
            after_in_child=self._leave_to_child,
        )

    def start(self) -> None:
        """Take over the signals of this process."""
        self.noted, self.waits = 0, False
        self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        self.listens = RawValue("b", 1)

    def stop(self) -> None:
        """Give the signals back."""
        self.noted = 0
        while self.before:
            signal.signal(*self.before.popitem())

    def _mask(self, how: int) -> None:
        if self.before:
            signal.pthread_sigmask(how, SIGNALS)

    def _leave_to_child(self) -> None:
        self.stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted:
            os._exit(128 + number)
        self.noted = number
        if not self.waits:
            raise Interrupted(number)


LISTENER = Listener()


@contextmanager
def listening() -> Iterator[None]:
    """Raise Interrupted when a signal comes, also where other code has caught it.

    Raises:
        Interrupted: Instead of any other exception that ends the block after a signal.
    """
    LISTENER.start()
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not LISTENER.noted:
            raise
        raise Interrupted(LISTENER.noted) from error
    finally:
        LISTENER.stop()
        LISTENER.listens.value = 0  # not in stop(), which children call, too


class PatientWorkers(Hook):
    """Lets the workers of the loaders live until the training has acted on a signal.

    Clusters, and Ctrl-C, send it to all processes. A worker obeys it once nobody listens.
    """

    def before_train(self, runner: Runner) -> None:
        """Before the loaders start any worker."""
        loaders = [runner.train_dataloader]
        loaders += [runner.val_dataloader] if runner.val_loop is not None else []
        for loader in loaders:
            start = partial(_start_worker, LISTENER.listens, loader.worker_init_fn)
            loader.worker_init_fn = start


def _start_worker(listens: Any, prepare: Callable[[int], None] | None, worker: int) -> None:
    for number in SIGNALS:
        signal.signal(number, partial(_end_worker, listens))
    if prepare:
        prepare(worker)


def _end_worker(listens: Any, number: int, frame: FrameType | None) -> None:
    if not listens.value:
        os._exit(0)  # for any other code PyTorch raises an error in the training


@HOOKS.register_module(force=True)  # again when the module is reloaded
class EndOnSignalHook(Hook):
    """Ends a training after the step, or the batch of a validation, in which a signal comes.

    Args:
        save: Whether to save a checkpoint after the step. In a validation nothing is saved: a
            resumed training repeats it. With several processes it is enough that one of them gets
            the signal. A second signal ends the process at once.
    """

    priority = "LOWEST"  # after everything else has been done for the step

    def __init__(self, save: bool = False) -> None:
        self.save = save

    def before_train(self, runner: Runner) -> None:
        """From now on, wait for the end of a step."""
        LISTENER.waits = True

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """End if a signal has come, after saving if that is wanted."""
        number = LISTENER.noted
        if self.save:
            received = torch.tensor(number)
            all_reduce(received, "max")  # all processes must save after the same step
            number = int(received)
        if number and self.save:
            iteration = runner.iter + 1
            meta = dict(epoch=runner.epoch, iter=iteration)
            for hook in (hook for hook in runner.hooks if isinstance(hook, CheckpointHook)):
                # Private, but the only method that also names the file in last_checkpoint.
                hook._save_checkpoint_with_step(runner, f"{runner.epoch}_iter_{iteration}", meta)
        self._end(runner, number)

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """End if a signal has come."""
        self._end(runner, LISTENER.noted)

    def after_val(self, runner: Runner) -> None:
        """End if a signal has come while the metrics were computed."""
        self._end(runner, LISTENER.noted)

    def after_train(self, runner: Runner) -> None:
        """No step follows whose end could be waited for."""
        LISTENER.waits = False

    def _end(self, runner: Runner, number: int) -> None:
        if number:
            last = runner.message_hub.runtime_info.get("last_ckpt")
            kept = f"The last checkpoint is {last}." if last else "No checkpoint was saved yet."
            when = f" in epoch {runner.epoch + 1}, after {runner.iter} iterations. {kept}"
            raise Interrupted(number, f"{when} To continue, run the same command with --resume.")
