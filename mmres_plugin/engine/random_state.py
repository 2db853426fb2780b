"""Random numbers of training, so that a resumed run draws what an uninterrupted one would.

The states of the generators in the training's own process are stored. What is drawn while data are
loaded needs no state: each batch has a number, which seeds the generators for it.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..errors import UserError

# What a loader with numbered batches has from the one that it replaces.
SAME = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "prefetch_factor")
SAME += ("multiprocessing_context", "persistent_workers", "pin_memory_device")


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


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Put the generators back at the end to where they were."""
    state = random_state()
    try:
        yield
    finally:
        restore_random_state(state)


@dataclass
class SeededBatch:
    """The indices of a batch. Whoever loads them draws what follows from the seed.

    Attributes:
        indices: Of the images.
        seed: Of the run, the process, and the number of the batch.
    """

    indices: list[int]
    seed: tuple[int, ...]

    def __iter__(self) -> Iterator[int]:
        # In the training's own process, the generators are also those of drop path.
        with nullcontext() if get_worker_info() else unchanged_random_state():
            numbers = np.random.SeedSequence(self.seed).generate_state(3)
            random.seed(int(numbers[0]))
            np.random.seed(numbers[1])
            torch.default_generator.manual_seed(int(numbers[2]))
            yield from self.indices


class NumberedBatches:
    """A batch sampler whose batches are seeded by their numbers in the training.

    Attributes:
        number: Of the next batch.
        skip: How many batches to leave out first.
        endless: Whether to begin again at the end, as a loop by iterations does.
    """

    def __init__(self, batches: Any, seed: int, endless: bool) -> None:
        self.batches, self.seed, self.endless = batches, seed, endless
        self.number = self.skip = 0

    def __iter__(self) -> Iterator[SeededBatch]:
        for epoch in count(1):
            for indices in self.batches:
                number, self.number = self.number, self.number + 1
                if self.skip:
                    self.skip -= 1
                else:
                    yield SeededBatch(indices, (self.seed, get_rank(), number))
            if not self.endless:
                return
            self.batches.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)


class EndlessBatches:
    """What a loop by iterations takes batches from; it can leave out those that were seen."""

    def __init__(self, loader: DataLoader, batches: NumberedBatches) -> None:
        self.loader, self.batches, self.iterator = loader, batches, None

    def __next__(self) -> Any:
        self.iterator = self.iterator or iter(self.loader)
        return next(self.iterator)

    def skip_iter(self, count: int) -> None:
        """Leave out ``count`` batches, before the first is loaded."""
        self.batches.skip = count


def number_batches(runner: Runner) -> NumberedBatches | None:
    """Give the training a loader whose batches are seeded by their numbers.

    Returns:
        Its batch sampler, or None for loops and data sets of other kinds, which stay as they are.
    """
    loop: Any = runner.train_loop
    loader: Any = runner.train_dataloader
    by_iterations = isinstance(loop, IterBasedTrainLoop)
    known = by_iterations or isinstance(loop, EpochBasedTrainLoop)
    if not known or loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
        return None
    if isinstance(loader.batch_sampler, NumberedBatches):
        raise UserError("custom_hooks: of two SafeCheckpointHooks, make one a CheckpointHook")
    batches = NumberedBatches(loader.batch_sampler, runner.seed or 0, endless=by_iterations)
    loop.dataloader = DataLoader(
        loader.dataset,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]
        # From torch's own generator, each new set of workers would take a number.
        generator=torch.Generator(),
        **{name: getattr(loader, name) for name in SAME},
    )
    if by_iterations:
        vars(loop).update(dataloader_iterator=EndlessBatches(loop.dataloader, batches))
    return batches
