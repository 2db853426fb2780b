"""Timing: all cases take turns, so that a slow moment of the machine hits all of them."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

Run = Callable[[], object]
Clock = Callable[[], float]

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


class Times(NamedTuple):
    """Milliseconds of one call: median and quartiles."""

    median: float
    low: float
    high: float


def once(run: Run, clock: Clock = time.perf_counter) -> float:
    """Milliseconds of one call."""
    synchronize()
    start = clock()
    run()
    synchronize()
    return 1000 * (clock() - start)


def interleaved(
    runs: Mapping[str, Run], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, Times]:
    """Median and quartiles of :func:`samples`, whose arguments it takes."""
    return {name: summary(values) for name, values in samples(runs, rounds, clock).items()}


def samples(
    runs: Mapping[str, Run], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Milliseconds of all ``runs``, which take turns, ``rounds`` times.

    Each timed call follows an untimed one, which fills the caches.

    Args:
        runs: What to time, by name.
        rounds: How often each run is timed.
        clock: Tells the time in seconds.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            found[name].append(once(run, clock))
    return found


def summary(values: list[float]) -> Times:
    if len(values) == 1:
        return Times(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Times(median, low, high)


def peak_memory(run: Run, device: torch.device) -> float | None:
    """MiB that one call needs on top of what was in use before it; None if unknown.

    Args:
        run: The call.
        device: Where it computes. On a GPU, PyTorch's allocator counts; on a CPU it is the resident
            memory of the process, which only Linux reports.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # return freed memory, so that it is not reused
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except (OSError, AttributeError):
        return None
    run()
    return (resident("VmHWM") - before) / 1024


def resident(key: str) -> int:
    """A figure in KiB from Linux's status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
