"""Measure a detector from image to boxes: in MMDetection, folded, frozen, and as exported files.

    python tools/benchmarks/deployed.py CONFIG CHECKPOINT --files model.onnx int8.onnx --image a.jpg

All cases take turns in one process. Times start with a decoded image and end with boxes. Start and
peak memory are those of a new process that opens the model and detects once, the median of three.
The command prints a table and writes it to a CSV file.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from timing.measure import CLOCKS, Run, samples

from mmres_plugin.engine.command_line import user_errors

RUNNER = Path(__file__).resolve().parents[2] / "examples" / "run_onnx.py"
TORCH = ("mmdet", "folded", "frozen")
BACKENDS = ("onnxruntime", "openvino")
STARTS = 3
# A process of its own, because Linux counts the memory of the starting process as the new one's.
LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Row(NamedTuple):
    """One measured case.

    Attributes:
        case: ``mmdet``, ``folded``, ``frozen``, or a file and its runtime.
        threads: CPU threads.
        batch: Images per call.
        p50_ms: Median time of a call in milliseconds.
        p95_ms: Time that 95 % of the calls did not exceed.
        images_per_s: Images per second, from the median.
        of_mmdet: The median as a share of MMDetection's.
        start_s: Seconds from the start of a process to its first result.
        peak_mib: Largest resident memory of that process in MiB.
    """

    case: str
    threads: int
    batch: int
    p50_ms: float
    p95_ms: float
    images_per_s: float
    of_mmdet: float
    start_s: float
    peak_mib: float


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a detector from image to boxes")
    parser.add_argument("config", help="config file of the detector")
    parser.add_argument("checkpoint", help="its checkpoint file, or 'none' for random weights")
    parser.add_argument("--files", nargs="+", type=Path, required=True, help="exported files")
    parser.add_argument("--image", required=True, help="image file, in the size of the test set")
    parser.add_argument("--rounds", type=int, default=21, help="how often each case is timed")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="images per call")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time of the process"
    )
    parser.add_argument("--torch", nargs="*", choices=TORCH, default=TORCH, help="cases in PyTorch")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/speed/deployed.csv"))
    parser.add_argument("--once", metavar="CASE", help=argparse.SUPPRESS)  # for the new processes
    return parser.parse_args()


def cases(args: argparse.Namespace) -> list[str]:
    """The names of all cases, MMDetection's first."""
    files = [f"{file} {backend}" for file in args.files for backend in BACKENDS]
    return [*dict.fromkeys(["mmdet", *args.torch]), *files]


def prepare(case: str, args: argparse.Namespace, threads: int, batch: int) -> Run:
    """A function that runs a case once."""
    if case not in TORCH:
        return prepare_file(*case.rsplit(" ", 1), args.image, threads, batch)
    import torch
    from mmcv import imread
    from mmdet.apis import inference_detector
    from torch._inductor import config as inductor

    from mmres_plugin.deploy import fold_norms, load_model

    model = load_model(args.config, None if args.checkpoint == "none" else args.checkpoint)
    images = [imread(args.image)] * batch
    if case != "mmdet":
        folded = fold_norms(model).to(memory_format=torch.channels_last)
        folded.cfg, folded.dataset_meta = model.cfg, model.dataset_meta
        model = folded
    if case == "frozen":
        for part in (model.backbone, model.neck, model.bbox_head):
            part.compile(dynamic=False, options={"freezing": True})

    def run() -> object:
        torch.set_num_threads(threads)
        return inference_detector(model, images)

    with inductor.patch(freezing=case == "frozen"):  # must be on before the first image
        run()
    return run


def prepare_file(path: str, backend: str, image: str, threads: int, batch: int) -> Run:
    sys.path.insert(0, str(RUNNER.parent))
    from run_onnx import Network, read_image

    network = Network(path, backend, threads)
    pixels = np.stack([np.asarray(read_image(Path(image)))] * batch)
    return lambda: network(pixels)


def first_result(case: str, args: argparse.Namespace, threads: int) -> tuple[float, float]:
    """Seconds and MiB of a new process that opens the model and runs it once."""
    command = [*sys.argv, "--once", case, "--threads", str(threads)]
    if case not in TORCH:  # what a user of the file would start, without this tool's imports
        file, backend = case.rsplit(" ", 1)
        command = [
            str(RUNNER),
            file,
            args.image,
            "--backend",
            backend,
            "--threads",
            str(threads),
            "--out",
            str(args.out.parent),
        ]
    launch = [sys.executable, "-S", "-c", LAUNCHER, sys.executable, *command]
    done = subprocess.run(launch, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case}: its process ended with exit code {done.returncode}")
    wall, cpu, peak = map(float, done.stdout.split())
    return cpu if args.clock == "cpu" else wall, peak


def measure(args: argparse.Namespace) -> Iterator[Row]:
    starts = {}
    for threads in dict.fromkeys(args.threads):
        for case in cases(args):
            results = [first_result(case, args, threads) for _ in range(STARTS)]
            starts[case, threads] = [statistics.median(each) for each in zip(*results, strict=True)]
    for threads in dict.fromkeys(args.threads):
        for batch in args.batch:
            runs = {case: prepare(case, args, threads, batch) for case in cases(args)}
            found = samples(runs, args.rounds, CLOCKS[args.clock])
            usual = statistics.median(found["mmdet"])
            for case, times in found.items():
                p50, p95 = np.percentile(times, [50, 95])
                yield Row(
                    " ".join(Path(word).name for word in case.split(" ")),
                    threads,
                    batch,
                    round(float(p50), 1),
                    round(float(p95), 1),
                    round(1000 * batch / float(p50), 2),
                    round(float(p50) / usual, 3),
                    round(starts[case, threads][0], 2),
                    round(starts[case, threads][1]),
                )


def main() -> None:
    args = parse_args()
    if args.once:
        prepare(args.once, args, args.threads[0], 1)()
        return
    rows = list(measure(args))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([Row._fields, *rows])
    print("| " + " | ".join(Row._fields) + " |\n| --- |" + " --: |" * (len(Row._fields) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(f"written: {args.out}")


if __name__ == "__main__":
    with user_errors():
        main()
