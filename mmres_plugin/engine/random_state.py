"""Random numbers of training, so that a resumed run draws what an uninterrupted one would.

The states of the generators in the training's own process are stored. What is drawn while data are
loaded needs no state: each batch has a number, which seeds the generators for it.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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


class NumberedBatches:
    """A batch sampler whose batches know their numbers in the training.

    Attributes:
        number: Of the next batch.
        skip: How many batches to leave out first.
        endless: Whether to begin again at the end, as a loop by iterations does.
    """

    def __init__(self, batches: Any, endless: bool) -> None:
        self.batches, self.endless = batches, endless
        self.number = self.skip = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in count(1):
            for indices in self.batches:
                number, self.number = self.number, self.number + 1
                if self.skip:
                    self.skip -= 1
                else:
                    yield [(number, index) for index in indices]
            if not self.endless:
                return
            self.batches.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)


class SeededDataset:
    """A data set that seeds the generators with the number of each batch that is loaded from it.

    Anything else that is asked of it, or set, is its data set's.
    """

    def __init__(self, dataset: Any, seed: tuple[int, ...]) -> None:
        vars(self).update(dataset=dataset, seed=seed)

    def __getitems__(self, batch: list[tuple[int, int]]) -> list:
        # In the training's own process, the generators are also those of drop path.
        with nullcontext() if get_worker_info() else unchanged_random_state():
            numbers = np.random.SeedSequence((*self.seed, batch[0][0])).generate_state(3)
            random.seed(int(numbers[0]))
            np.random.seed(numbers[1])
            torch.default_generator.manual_seed(int(numbers[2]))
            return [self.dataset[index] for _, index in batch]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by pickle, before there is a data set
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)


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
    batches = NumberedBatches(loader.batch_sampler, endless=by_iterations)
    loop.dataloader = DataLoader(
        SeededDataset(loader.dataset, (runner.seed or 0, get_rank())),  # pyright: ignore[reportArgumentType]
        batch_sampler=batches,
        # From torch's own generator, each new set of workers would take a number.
        generator=torch.Generator(),
        **{name: getattr(loader, name) for name in SAME},
    )
    if by_iterations:
        vars(loop).update(dataloader_iterator=EndlessBatches(loop.dataloader, batches))
    return batches
