"""Measure the speed of our backbones and of other libraries' in every mode.

    python tools/benchmarks/speed.py --networks iresnet50 timm-resnet50 --modes eager frozen
    python tools/benchmarks/speed.py --networks configs/my_config.py --task training
    python tools/benchmarks/speed.py --plot work_dirs/speed/speed.csv   # draws, measures nothing

All cases take turns in one process, with the same threads. The command prints medians with
quartiles and writes ``speed.csv``, ``speed.md`` and ``speed.png`` to the folder ``--out``.
"""

import argparse
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import torch

from ..analysis.floor import convolutions_alone
from ..analysis.measure import CLOCKS, Run, Times, interleaved, peak_memory
from ..analysis.modes import TASKS, fold, impossible
from ..analysis.networks import NETWORKS, build
from ..analysis.report import Row, plot, read_csv, summary, table, write_csv
from ..deploy import keep_memory
from ..errors import UserError, did_you_mean

Case = tuple[str, str, str]  # task, network, mode

# Environment variables that start like this change how memory is allocated, and so CPU times.
ALLOCATION = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the speed of backbones")
    parser.add_argument(
        "--networks",
        nargs="+",
        help=f"{', '.join(NETWORKS)}; the path of a config; or file.py:function (default: all)",
    )
    modes = sorted({mode for modes in TASKS.values() for mode in modes})
    parser.add_argument("--modes", nargs="+", choices=modes, help="default: all that run here")
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=["inference"])
    parser.add_argument("--batch", type=int, default=8, help="images in a batch")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--rounds", type=int, default=7, help="how often each case is timed")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="cpu: processor time of one thread, which other programs disturb less",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--keep-memory",
        action="store_true",
        help="call mmres_plugin.deploy.keep_memory first",
    )
    parser.add_argument(
        "--floor", action="store_true", help="also time the convolutions alone, in PyTorch"
    )
    parser.add_argument(
        "--plot",
        nargs="+",
        type=Path,
        metavar="CSV",
        help="draw speed.png from these files, and measure nothing",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("work_dirs/speed"), help="folder for the results"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small images and two rounds, to see that it runs"
    )
    args = parser.parse_args(argv)
    if args.plot:
        return args
    args.networks = args.networks or list(NETWORKS)
    if args.quick:
        args.batch, args.size, args.rounds = 2, 64, 2
    if args.clock == "cpu":
        args.threads = 1
    if args.clock == "cpu" and args.device == "cuda":
        raise UserError(["--clock cpu: processor time says nothing about a GPU"])
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError(["--device cuda: PyTorch finds no GPU"])
    return args


def chosen_modes(task: str, args: argparse.Namespace) -> list[str]:
    """The requested modes of ``task`` that run on this machine."""
    able = []
    for mode in TASKS[task]:
        if args.modes and mode not in args.modes:
            continue
        reason = impossible(mode, args.device)
        if reason is None:
            able.append(mode)
        else:
            print(f"left out: {task}, {mode} ({reason})")
    return able


def prepare(args: argparse.Namespace, images: torch.Tensor) -> tuple[dict, dict]:
    """For each case a function that has already run once, and the peak memory of its second run."""
    runs: dict[Case, Run] = {}
    peaks: dict[Case, float | None] = {}
    for task in args.task:
        for mode in chosen_modes(task, args):
            for network in args.networks:
                print(f"preparing {task} of {network}, {mode}", flush=True)
                model = build(network).to(args.device).eval()
                run = TASKS[task][mode](model, images)
                run()
                peaks[task, network, mode] = peak_memory(run, images.device)
                runs[task, network, mode] = run
    return runs, peaks


def convolution_times(
    args: argparse.Namespace, images: torch.Tensor, cases: Iterable[Case]
) -> dict[tuple[str, bool], float]:
    """Time of each network's convolutions, in float32, bfloat16 or both, as in ``cases``."""
    found = {}
    halves = {"bf16" in mode for task, _, mode in cases if task == "inference"}
    for network in args.networks if args.floor and halves else ():
        print(f"measuring the convolutions of {network}", flush=True)
        model = fold(build(network).to(args.device).eval())
        for half in sorted(halves):
            dtype = torch.bfloat16 if half else torch.float32
            found[network, half] = convolutions_alone(
                model.to(dtype), images.to(dtype), CLOCKS[args.clock]
            )
    return found


def rows(
    times: dict[Case, Times], peaks: dict, alone: dict[tuple[str, bool], float], batch: int
) -> list[Row]:
    found = []
    for case, ms in sorted(times.items(), key=lambda item: (item[0][0], item[0][1])):
        task, network, mode = case
        eager = times.get((task, network, "eager"))
        convolutions = alone.get((network, "bf16" in mode)) if task == "inference" else None
        found.append(
            Row(
                *case,
                batch * 1000 / ms.median,
                *ms,
                ms.median / eager.median if eager else None,
                ms.median / convolutions if convolutions else None,
                peaks[case],
            )
        )
    for (network, half), ms in alone.items():
        eager = times.get(("inference", network, "eager"))
        share = ms / eager.median if eager else None
        name = "convolutions bf16" if half else "convolutions"
        row = Row("inference", network, name, batch * 1000 / ms, ms, ms, ms, share, 1.0, None)
        found.append(row)
    return sorted(found, key=lambda row: (row.task, row.network))


def machine(args: argparse.Namespace) -> str:
    """Machine and settings in one line."""
    if args.device == "cuda":
        device = torch.cuda.get_device_name()
    else:
        capability = torch.backends.cpu.get_cpu_capability()
        cores = f"{os.cpu_count()}-core {platform.machine()} CPU ({capability})"
        device = f"{args.threads} threads of a {cores}"
    images = f"batch {args.batch} at {args.size}×{args.size}"
    variables = sorted(os.environ.items())
    settings = [f"{name}={value}" for name, value in variables if name.startswith(ALLOCATION)]
    if args.keep_memory:
        settings.append("memory kept")
    parts = [device, f"{args.clock} clock", images, f"torch {torch.__version__}", *settings]
    return ", ".join(parts)


def redraw(args: argparse.Namespace) -> None:
    """Draw the rows of ``--plot``, only those of ``--networks`` if given, in that order."""
    found = [row for path in args.plot for row in read_csv(path)]
    known = dict.fromkeys(row.network for row in found)
    for name in args.networks or ():
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(
                [f"--networks: the files have no {name!r}, only {', '.join(known)}.{hint}"]
            )
    chosen = [row for name in args.networks or known for row in found if row.network == name]
    args.out.mkdir(parents=True, exist_ok=True)
    plot(chosen, args.out / "speed.png")
    print(f"written: {args.out}/speed.png")


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.plot:
        redraw(args)
        return
    if args.keep_memory and not keep_memory():
        raise UserError(["--keep-memory: the C library is not glibc"])
    torch.set_num_threads(args.threads)
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    runs, peaks = prepare(args, images)
    alone = convolution_times(args, images, runs)
    print(f"measuring {len(runs)} cases in {args.rounds} rounds", flush=True)
    times = interleaved(runs, args.rounds, CLOCKS[args.clock])
    result = rows(times, peaks, alone, args.batch)
    text = f"{machine(args)}\n\n{summary(result)}\n\n{table(result)}\n"
    print(f"\n{text}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "speed.md").write_text(text)
    write_csv(result, args.out / "speed.csv")
    plot(result, args.out / "speed.png", machine(args))
    print(f"written: {args.out}/speed.md, speed.csv and speed.png")
