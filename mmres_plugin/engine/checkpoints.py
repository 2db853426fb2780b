"""Checkpoints that survive a kill, a full disk and diverged training."""

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..errors import UserError, shortened
from ..weights.files import atomic_write
from .random_state import DataOrder, random_state, restore_random_state
from .storage import BACKEND, remove_leftovers, room_problem, storage_errors


@HOOKS.register_module(force=True)  # again when the module is reloaded
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, in a safe order: a checkpoint is saved whole, then ``last_checkpoint`` names
    it, then older ones are deleted.

    A checkpoint also has the random states of all processes, so that a resumed training draws what
    the uninterrupted one would have drawn. One with weights that are not finite is not saved.

    ``default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))`` in a config; takes the
    arguments of :class:`mmengine.hooks.CheckpointHook`. With an ``out_dir`` in remote storage, or
    ``backend_args`` of your own, files are written as that backend does it.
    """

    resumed: list[dict] | None = None
    outdated: list[str] = []
    saved: list[dict] | None = None
    before_validation: dict | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remove what this hook added from a checkpoint that is resumed."""
        states = checkpoint.pop("random_states", None)
        outdated = checkpoint.pop("outdated", [])
        if runner._resume:
            self.resumed, self.outdated = states, outdated

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder, then go on with the random states of the checkpoint."""
        folder = str(self.out_dir or runner.work_dir)
        if "://" not in folder and self.backend_args is None and self.file_client_args is None:
            self.backend_args = {"backend": BACKEND}
        super().before_train(runner)
        self.file_backend = LateDeletion(self.file_backend)
        self._find_best_here()
        if is_main_process() and self.backend_args == {"backend": BACKEND}:
            with storage_errors(self.out_dir):
                os.makedirs(self.out_dir, exist_ok=True)
                for folder in {str(self.out_dir), str(runner.work_dir)}:
                    remove_leftovers(folder)
            for name in self.outdated:  # a kill may have come before they were deleted
                path = os.path.join(self.out_dir, os.path.basename(name))
                if path.endswith(".pth") and os.path.isfile(path):
                    self.file_backend.remove(path)
            self.file_backend.delete(self._in_use())
            problem = room_problem(self.out_dir, 2 * checkpoint_size(runner))
            if problem:
                runner.logger.warning(problem)
        self.data_order = DataOrder(runner)
        if self.resumed and len(self.resumed) == runner.world_size:
            state = self.resumed[get_rank()]
            self.data_order.restore(state)
            restore_random_state(state)
        elif runner._resume and runner.iter:
            runner.logger.warning(
                f"the checkpoint has the random states of {len(self.resumed or ())} processes, but "
                f"this run has {runner.world_size}: augmentation and drop path will differ"
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Go to the batch at which training continues."""
        self.data_order.begin(runner.train_loop)

    def after_train_epoch(self, runner: Runner) -> None:
        """Save what is due."""
        self.data_order.end(runner.train_loop)
        super().after_train_epoch(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Keep the random states: what validation draws must not change the training."""
        self.before_validation = random_state()

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Put the random states back, then look for the best checkpoint."""
        if self.before_validation:
            restore_random_state(self.before_validation)
            self.before_validation = None
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse weights that are not finite; add the random states where a training can go on."""
        state = checkpoint["state_dict"]
        broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
        if broken:
            raise UserError(
                [
                    f"{len(broken)} of {len(state)} tensors are not finite after iteration "
                    f"{runner.iter} ({shortened(broken)}). They were not saved; the last "
                    f"checkpoint in {self.out_dir} is intact."
                ],
                "Stopped:",
            )
        if "optimizer" in checkpoint:
            checkpoint["random_states"] = self.saved
            waiting = [os.path.basename(path) for _, path in self.file_backend.waiting]
            checkpoint["outdated"] = waiting

    def _save_checkpoint_with_step(self, runner: Runner, step: object, meta: dict) -> None:
        state = self.before_validation or random_state()
        self.saved = all_gather_object({**state, **self.data_order.state()})
        with (
            storage_errors(runner.work_dir),
            TemporaryDirectory(prefix=".saving-", suffix=".tmp", dir=runner.work_dir) as folder,
        ):
            # MMEngine writes last_checkpoint into this folder, from where it is moved.
            super()._save_checkpoint_with_step(_InFolder(runner, folder), step, meta)
            if is_main_process():
                with atomic_write(Path(runner.work_dir, "last_checkpoint")) as temporary:
                    os.replace(Path(folder, "last_checkpoint"), temporary)
        self.file_backend.delete(self._in_use())

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self.file_backend.delete(self._in_use())

    def _in_use(self) -> set:
        best = getattr(self, "best_ckpt_path_dict", {})
        return {self.last_ckpt, getattr(self, "best_ckpt_path", None), *best.values()}

    def _find_best_here(self) -> None:
        """The best checkpoints lie in ``out_dir``, also after a work dir was moved or copied."""

        def here(path: str | None) -> str | None:
            return path and self.file_backend.join_path(self.out_dir, os.path.basename(path))

        if hasattr(self, "best_ckpt_path"):
            self.best_ckpt_path = here(self.best_ckpt_path)
        best = getattr(self, "best_ckpt_path_dict", {})
        best.update({key: here(path) for key, path in best.items()})


class LateDeletion:
    """A storage backend that deletes only when ``delete`` is called."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.waiting: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, filepath: str) -> None:
        """Remove the file later."""
        self.waiting.append((self.backend.remove, filepath))

    def rmtree(self, dir_path: str) -> None:
        """Remove the folder later."""
        self.waiting.append((self.backend.rmtree, dir_path))

    def delete(self, in_use: Iterable[str | None]) -> None:
        """Remove all that waits for it, except files that were written again since."""
        while self.waiting:
            remove, path = self.waiting.pop(0)
            if path not in in_use:
                remove(path)


class _InFolder:
    """A runner with another ``work_dir``."""

    def __init__(self, runner: Runner, work_dir: str) -> None:
        self.runner = runner
        self.work_dir = work_dir

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)


def checkpoint_size(runner: Runner) -> int:
    """About how many bytes a checkpoint takes: the model, and what its optimizer keeps."""
    size = sum(t.numel() * t.element_size() for t in runner.model.state_dict().values())
    defaults = getattr(getattr(runner.optim_wrapper, "optimizer", None), "defaults", {})
    kept = 2 if "betas" in defaults else 1 if defaults.get("momentum") else 0
    trained = [p for p in runner.model.parameters() if p.requires_grad]
    return size + kept * sum(p.numel() * p.element_size() for p in trained)
