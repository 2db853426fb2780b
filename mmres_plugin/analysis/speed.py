"""Times and memory of networks in every mode."""

import pkgutil
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from ..deploy import fold_norms
from ..deploy.exported_model import Session
from ..errors import UserError
from ..weights.files import atomic_write
from .cost import find_config, network

Computation = Callable[[], object]


def build_network(name: str) -> nn.Module:
    """The network of a config or of the hub, or what ``MODULE:FUNCTION`` returns."""
    torch.manual_seed(0)
    if ":" not in name:
        return network(find_config(name))
    try:
        return pkgutil.resolve_name(name)()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{name}: {error}") from error


def prepare(name: str, task: str, mode: str, images: Tensor) -> Computation:
    """A function that computes one batch: a forward pass, or a training step with SGD.

    Args:
        name: As in :func:`build`, or an ONNX file.
        task: ``'inference'`` or ``'training'``.
        mode: ``'eager'``, ``'channels_last'``, or, in channels last, ``'bf16'`` (autocast),
            ``'folded'`` (norms in convolutions) or ``'compiled'``; for a file its program.
        images: N×3×H×W.
    """
    if name.endswith(".onnx"):
        return prepare_file(name, mode, images.cpu())
    model = build_network(name).to(images.device)
    model.train(task == "training")  # not chained: some return nothing
    if mode == "folded":
        model = fold_norms(model)
    if mode != "eager":
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        images = images.contiguous(memory_format=torch.channels_last)
    forward = model
    if mode == "compiled":
        # Of a ninth network of one class nothing would be compiled. PyTorch 2.6, which we accept,
        # has this setting under no public name.
        torch._dynamo.config.recompile_limit = 1000
        forward = torch.compile(model)
    cast = partial(torch.autocast, images.device.type, torch.bfloat16, enabled=mode == "bf16")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    @torch.no_grad()
    def infer() -> None:
        with cast():
            forward(images)

    def step() -> None:
        with cast():
            outputs = forward(images)
        outputs = outputs if isinstance(outputs, tuple | list) else [outputs]
        optimizer.zero_grad()
        torch.stack([output.float().square().mean() for output in outputs]).sum().backward()
        optimizer.step()

    return step if task == "training" else infer


def prepare_file(path: str, program: str, images: Tensor) -> Computation:
    """As :func:`prepare`, with an ONNX file in ONNX Runtime or OpenVINO on the CPU."""
    threads = torch.get_num_threads()
    session = Session(path, threads)
    if session.takes_pixels:
        images = images.permute(0, 2, 3, 1).to(torch.uint8)
    images = images.contiguous()
    run = partial(session, images)
    try:
        if program == "openvino":
            import openvino

            settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
            run = partial(openvino.compile_model(path, "CPU", settings), images.numpy())
        run()
    except Exception as error:  # their classes of errors have no base
        raise UserError(f"{path} in {program}: {error}") from error
    return run


def measure(runs: dict[tuple[str, ...], Computation], batch: int, rounds: int) -> list[dict]:
    """Time all runs in turn, so that a slow moment of the machine hits all of them.

    Args:
        runs: What to time, by task, network and mode.
        batch: Images that each of them computes.
        rounds: How often each one is timed.

    Returns:
        A row for each: median and quartiles of its milliseconds, their ratio to the first row of
        the task, and on a GPU the MiB that PyTorch needs.
    """
    timers, peaks = {}, {}
    for case, run in runs.items():
        timers[case] = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
        run()  # the first time it also compiles
        if torch.cuda.is_initialized():  # by a network on a GPU
            torch.cuda.reset_peak_memory_stats()
            run()
            peaks[case] = torch.cuda.max_memory_allocated() / 2**20
    times: dict[tuple[str, ...], list[float]] = {case: [] for case in runs}
    for _ in range(rounds):
        for case, timer in timers.items():
            times[case].append(1000 * timer.timeit(1).median)
    rows: list[dict] = []
    for case, values in times.items():
        low, ms, high = statistics.quantiles(values, n=4, method="inclusive")
        first = next((row["ms"] for row in rows if row["task"] == case[0]), ms)
        row = dict(zip(("task", "network", "mode"), case, strict=True))
        row |= {"images_per_s": batch * 1000 / ms, "ms": ms, "ms_low": low, "ms_high": high}
        rows.append({**row, "ratio": ms / first, "peak_mib": peaks.get(case, "")})
    return rows


def plot_speeds(rows: list[dict], path: Path) -> None:
    """Draw images per second: a panel per network, a bar per task and mode."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    cases = list(dict.fromkeys(f"{row['task']}, {row['mode']}" for row in rows))
    columns = min(len(networks), 4)
    lines = -(-len(networks) // columns)
    figure = Figure((2 + 2.6 * columns, lines * (0.9 + 0.24 * len(cases))), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for name, panel in zip(networks, axes.flat, strict=False):
        own = [row for row in rows if row["network"] == name]
        speeds = [row["images_per_s"] for row in own]
        bars = panel.barh([f"{row['task']}, {row['mode']}" for row in own], speeds)
        panel.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
        panel.set_title(Path(name).stem, fontsize=10)
        panel.margins(x=0.2)
    axes[0, 0].invert_yaxis()
    figure.supxlabel("images per second", fontsize=10)
    with atomic_write(path) as half:
        figure.savefig(half, dpi=100, format="png")
