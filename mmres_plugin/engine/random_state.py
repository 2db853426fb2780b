"""Random numbers of training, so that a resumed run draws what an uninterrupted one would.

The states of the generators in the training's own process are stored. Processes that load data have
no state worth storing: the seed of each batch follows from its place in the training.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import Dataset, get_worker_info


def random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, as numbers, lists and tensors."""
    kind, keys, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),  # pyright: ignore[reportAttributeAccessIssue]
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the generators to what :func:`random_state` has returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())  # MMEngine loads files to the model's device
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class DataOrder:
    """In which order, and with which random numbers, a runner's training data is loaded."""

    def __init__(self, runner: Runner) -> None:
        self.loader: Any = runner.train_dataloader
        self.sampler: Any = getattr(self.loader.batch_sampler, "sampler", self.loader.sampler)
        self.batches = SeededBatches(self.loader.dataset, (runner.seed or 0, get_rank()))
        self.loader.dataset.__getitems__ = self.batches
        # From torch's own generator, each new set of workers would take a number.
        self.loader.generator = torch.Generator()
        self.resumed = False

    def state(self) -> dict[str, Any]:
        """What a resumed training needs for the same order."""
        return {"sampler": getattr(self.sampler, "seed", None), "batches": len(self.loader)}

    def restore(self, state: dict[str, Any]) -> None:
        """Load the data in the order that the :meth:`state` of another run describes."""
        if state["sampler"] is not None:
            self.sampler.seed = state["sampler"]
        self.resumed = state["batches"] == len(self.loader)

    def begin(self, loop: Any) -> None:
        """Go to the place in the data where ``loop`` is, at the start of an epoch.

        MMEngine does this for a loop by iterations, and would repeat an epoch that was interrupted.
        """
        done = max(0, loop.iter - loop.epoch * len(self.loader))
        self.batches.start[:] = torch.tensor([loop.epoch, done])
        if self.resumed and done and isinstance(loop, EpochBasedTrainLoop):
            # Past the loader's own guard; a loader has built nothing yet that depends on it.
            rest = RestOfBatches(self.loader.batch_sampler, done)
            object.__setattr__(self.loader, "batch_sampler", rest)
            run_iter = loop.run_iter
            loop.run_iter = lambda idx, data_batch: run_iter(idx + done, data_batch)

    def end(self, loop: Any) -> None:
        """Called at the end of an epoch: the next one begins with its first batch."""
        self.resumed = False
        vars(loop).pop("run_iter", None)


class RestOfBatches:
    """A batch sampler that leaves out the first ``done`` batches, the first time it is run."""

    def __init__(self, batches: Any, done: int) -> None:
        self.all = batches
        self.done = done

    def __iter__(self) -> Iterator:
        # As a generator: torch's loader makes an iterator that it does not use, and then another.
        done, self.done = self.done, 0
        yield from islice(self.all, done, None)

    def __len__(self) -> int:
        return len(self.all)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.all, name)


class SeededBatches:
    """Loads batches; in a worker process, with random numbers that follow from their places.

    An instance is the ``__getitems__`` of a data set, which torch's loader calls once per batch.

    Args:
        dataset: The data set.
        seed: Further numbers that the random numbers depend on.
    """

    def __init__(self, dataset: Dataset, seed: Sequence[int]) -> None:
        self.dataset = dataset
        self.seed = seed
        # Epoch and number of its first batch, in shared memory, because workers may outlive one.
        self.start = torch.zeros(2, dtype=torch.int64).share_memory_()
        self.epoch, self.calls = -1, 0

    def __call__(self, indices: Sequence[int]) -> list:
        worker = get_worker_info()
        if worker is not None:  # else the generators are those that a checkpoint stores
            epoch, first = self.start.tolist()
            if epoch != self.epoch:
                self.epoch, self.calls = epoch, 0
            # Batches are dealt out to the workers in turn.
            number = first + self.calls * worker.num_workers + worker.id
            self.calls += 1
            set_seed((*self.seed, epoch, number))
        return [self.dataset[index] for index in indices]


def set_seed(seed: Sequence[int]) -> None:
    """Seed Python's, NumPy's and torch's generators, each with a number of its own."""
    numbers = np.random.SeedSequence(seed).generate_state(3)
    random.seed(int(numbers[0]))
    np.random.seed(numbers[1])
    torch.default_generator.manual_seed(int(numbers[2]))
