"""Checkpoints that survive a kill, a full disk and diverged training."""

import math
import os
from bisect import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from ..errors import UserError, shortened, user_error
from ..weights.files import read_checkpoint
from .finite import not_finite
from .random_state import number_batches, random_state, restore_random_state
from .resume import compare_settings
from .storage import BACKEND, remove_leftovers, storage_errors

HELD = ("state_dict", "ema_state_dict", "optimizer")  # must be finite


@HOOKS.register_module(force=True)  # again when the module is reloaded
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, in a safe order: a checkpoint is saved whole, then ``last_checkpoint`` names
    it, then older ones are deleted.

    A checkpoint also has the random states of all processes and the state of early stopping, so
    that a resumed training does what the uninterrupted one would have done. A checkpoint is of
    before the validation that follows it, so a resumed training begins with that validation. One
    with a tensor that is not finite is not saved.

    ``default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))`` in a config; takes the
    arguments of :class:`mmengine.hooks.CheckpointHook`. With an ``out_dir`` in remote storage, or
    ``backend_args`` of your own, files are written as that backend does it.
    """

    def __init__(self, *args: Any, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # which keeps all: older ones are deleted here
        self.keep = max_keep_ckpts
        self.files: list[str] = []  # names of what this training has saved, the newest last
        self.resumed: dict = {}
        self.added: dict = {}  # what the next checkpoint gets beside MMEngine's content
        self.before_validation: dict | None = None
        self.is_read_back = False

    @property
    def best(self) -> dict[str, str | None]:
        """Paths of the best checkpoints, by metric if there are several."""
        if hasattr(self, "best_ckpt_path"):
            return {"": self.best_ckpt_path}
        return dict(getattr(self, "best_ckpt_path_dict", {}))

    @best.setter
    def best(self, paths: dict[str, str | None]) -> None:
        if "" in paths:
            self.best_ckpt_path = paths[""]
        elif paths:
            self.best_ckpt_path_dict = paths

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take out of a checkpoint what this hook has added."""
        added = checkpoint.pop("resume", {})
        if runner._resume:  # nothing public says whether the file is resumed or only loaded
            compare_settings(checkpoint, runner)
            self.resumed = {"processes": checkpoint.pop("random_states", ()), **added}

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder, then go on where the checkpoint was saved."""
        folder = str(self.out_dir or runner.work_dir)
        if "://" not in folder and self.backend_args is None and self.file_client_args is None:
            self.backend_args = {"backend": BACKEND}
        super().before_train(runner)
        # Also after a work dir was moved or copied, the best checkpoints are those in it.
        self.best = {
            key: path and self._path(os.path.basename(path)) for key, path in self.best.items()
        }
        self.files = list(self.resumed.get("files", ()))
        if is_main_process() and self.backend_args == {"backend": BACKEND}:
            with storage_errors(self.out_dir):
                os.makedirs(self.out_dir, exist_ok=True)
                for folder in {str(self.out_dir), str(runner.work_dir)}:
                    remove_leftovers(folder)
            pointer = os.path.join(runner.work_dir, "last_checkpoint")
            if os.path.lexists(pointer) and not os.path.isfile(pointer):
                raise UserError(f"{pointer} is not a file: move it away.")
        self._delete_old_ones()
        self.batches = number_batches(runner)
        self._go_on(runner)

    def _go_on(self, runner: Runner) -> None:
        states = self.resumed.get("processes", ())
        if states and len(states) == runner.world_size:
            state = states[get_rank()]
            restore_random_state(state)
            if self.batches and state["sampler"] is not None:
                self.batches.sampler.seed = state["sampler"]
        elif runner.iter:
            runner.logger.warning(
                f"the checkpoint has the random states of {len(states)} processes, but this run "
                f"has {runner.world_size}: augmentation and drop path will differ"
            )
        saved = self.resumed.get("hooks", ())
        hooks = [hook for hook in runner.hooks if kept_names(hook)]
        for hook, (kind, state) in zip(hooks, saved, strict=False):
            if kind == type(hook).__name__ and state.keys() == set(kept_names(hook)):
                vars(hook).update(state)
        if validation_is_due(runner):
            runner.logger.info("--resume: repeating the validation that followed the checkpoint")
            runner.val_loop.run()  # pyright: ignore[reportOptionalMemberAccess]

    def before_train_epoch(self, runner: Runner) -> None:
        """Go to the batch at which training continues; a loop by iterations does so itself."""
        loop = runner.train_loop
        if self.batches and isinstance(loop, EpochBasedTrainLoop):
            self.batches.number = loop.epoch * len(self.batches)
            states = self.resumed.get("processes", ())
            if states and states[0]["batches"] == len(self.batches):
                self.batches.skip = loop.iter - self.batches.number
            self.resumed = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Keep the random states: what validation draws must not change the training."""
        self.before_validation = random_state()

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint, then delete the one that was the best."""
        for name in set(self.save_best or ()) & metrics.keys():
            if math.isnan(metrics[name] or 0):
                runner.logger.warning(f"{name} is not a number, so no best checkpoint is saved")
        before = self.best
        self.best = dict.fromkeys(before)  # upstream deletes the one that it knows before it saves
        super().after_val_epoch(runner, metrics)
        self.best = {key: path or before[key] for key, path in self.best.items()}
        for key, path in before.items():
            if path and path != self.best[key]:
                self._delete(os.path.basename(path))

    def after_val(self, runner: Runner) -> None:
        """Put the random states back."""
        if self.before_validation:
            restore_random_state(self.before_validation)
            self.before_validation = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse tensors that are not finite, keep plain values, add what a resume needs."""
        held = {key: checkpoint.get(key) for key in HELD}
        broken = list(not_finite(held))
        if broken:
            raise UserError(
                f"{len(broken)} tensors are not finite after iteration {runner.iter} "
                f"({shortened(broken)}). They were not saved; the last checkpoint in "
                f"{self.out_dir} is intact.",
                "Stopped:",
            )
        if "param_schedulers" in checkpoint:
            checkpoint["param_schedulers"] = plain(checkpoint["param_schedulers"])
        checkpoint.update(self.added)

    def _save_checkpoint_with_step(self, runner: Runner, step: object, meta: dict) -> None:
        # Overridden although it is private: nothing public is called at every save in all processes
        if self.before_validation:
            return  # upstream saves again for the best score; a resume repeats the validation
        name = self.filename_tmpl.format(step)
        self.files = [*(other for other in self.files if other != name), name]
        batches = self.batches
        state = random_state()
        state.update(sampler=getattr(batches and batches.sampler, "seed", None))
        state.update(batches=len(batches) if batches else None)
        hooks = [(type(hook).__name__, kept(hook)) for hook in runner.hooks if kept_names(hook)]
        resume = dict(hooks=hooks, files=self.files)
        self.added = {"random_states": all_gather_object(state), "resume": resume}
        super()._save_checkpoint_with_step(runner, step, meta)
        self.added = {}
        if not self.is_read_back and is_main_process() and "://" not in str(self.last_ckpt):
            with user_error("Stopped: the first checkpoint cannot be read back"):
                read_checkpoint(str(self.last_ckpt))
        self.is_read_back = True
        self._delete_old_ones()

    def _delete_old_ones(self) -> None:
        while 0 < self.keep < len(self.files):
            self._delete(self.files.pop(0))

    def _delete(self, name: str) -> None:
        path = self._path(name)
        backend: Any = self.file_backend
        if is_main_process() and backend.isfile(path):
            backend.remove(path)
        elif is_main_process() and backend.isdir(path):  # DeepSpeed's
            backend.rmtree(path)

    def _path(self, name: str) -> str:
        return str(self.file_backend.join_path(self.out_dir, name))


def plain(node: Any) -> Any:
    """``node`` without functions and with Python's numbers: our reader runs nothing."""
    if isinstance(node, Mapping):
        return {key: plain(child) for key, child in node.items() if not callable(child)}
    if isinstance(node, list | tuple):
        return type(node)(map(plain, node))
    return node.item() if isinstance(node, np.generic) else node


def kept_names(hook: Hook) -> Sequence[str]:
    """The attributes of ``hook`` that a checkpoint keeps.

    A hook of your own lists them in an attribute ``kept_on_resume``.
    """
    early = ("wait_count", "best_score") if isinstance(hook, EarlyStoppingHook) else ()
    return getattr(hook, "kept_on_resume", early)


def kept(hook: Hook) -> dict[str, Any]:
    """These attributes by their names, as a checkpoint can hold them."""
    missing = [name for name in kept_names(hook) if not hasattr(hook, name)]
    if missing:
        what = f"{type(hook).__name__}.kept_on_resume"
        raise UserError(f"{what} must list attributes, and the hook has no {shortened(missing)}")
    return plain({name: getattr(hook, name) for name in kept_names(hook)})


def validation_is_due(runner: Runner) -> bool:
    """Whether the loop validates before it takes its next step."""
    loop = runner.train_loop
    if runner.val_loop is None or not runner.iter:
        return False
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    elif isinstance(loop, EpochBasedTrainLoop) and loop.iter == loop.epoch * len(loop.dataloader):
        done, end = loop.epoch, loop.max_epochs
    else:
        return False
    interval = loop.dynamic_intervals[bisect(loop.dynamic_milestones, done + 1) - 1]
    return done >= loop.val_begin and (done % interval == 0 or done == end)
