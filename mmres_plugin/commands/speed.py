"""Measure the speed of networks: inference, training steps, exported files.

    mmres speed iresnet50 torchvision.models:resnet50 --modes eager compiled
    mmres speed my_config.py model.onnx --batch 1
    mmres speed --plot work_dirs/speed/speed.csv

A NETWORK is a config, a name of the hub, an ONNX file or MODULE:FUNCTION, which returns a network.
Of a classifier all is measured, of a detector the backbone, each with random weights. All take
turns. Ratios are to the first network in its first mode. The folder --out gets speed.csv and
speed.png.
"""

import os
from importlib.util import find_spec
from pathlib import Path

from ..cli import Parser
from ..errors import UserError

MODES = {
    "inference": ("eager", "channels_last", "bf16", "folded", "compiled"),
    "training": ("eager", "channels_last", "bf16", "compiled"),
}
PROGRAMS = ("onnxruntime", "openvino")  # for ONNX files


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table, write a CSV file and a plot."""
    parser = Parser(__doc__, prog="mmres speed")
    add = parser.add_argument
    add("networks", nargs="*", metavar="NETWORK", help="what to measure")
    modes = (*MODES["inference"], *PROGRAMS)
    add("--modes", nargs="+", choices=modes, default=modes, help="all but eager in channels last")
    add("--task", nargs="+", choices=list(MODES), default=["inference"], help="what a call does")
    add("--batch", type=int, default=8, help="images in a batch")
    add("--size", nargs=2, type=int, default=(224, 224), metavar=("H", "W"), help="image size")
    add("--rounds", type=int, default=7, help="how often each case is timed")
    add("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where networks run")
    add("--out", type=Path, default=Path("work_dirs/speed"), help="folder")
    add("--plot", type=Path, nargs="+", metavar="CSV", help="draw these files, measure nothing")
    args = parser.parse_args(argv)
    if min(args.batch, *args.size, args.threads, args.rounds - 1) < 1:
        parser.error("--batch, --size and --threads must be 1 or more, --rounds 2 or more")
    if not (args.networks or args.plot):
        parser.error("give networks, or --plot")
    import torch

    from ..analysis import speed
    from ..analysis.csv_files import read_csv, write_csv

    if args.plot:
        columns = ("task", "network", "mode"), ("images_per_s",)
        rows = [row for path in args.plot for row in read_csv(path, *columns)]
        known = list(dict.fromkeys(row["network"] for row in rows))
        for name in args.networks:
            if name not in known:
                raise UserError(f"--plot: the files have no {name!r}, only {', '.join(known)}")
        rows = [row for name in args.networks or known for row in rows if row["network"] == name]
        speed.plot_speeds(rows, args.out / "speed.png")
        print(f"written: {args.out}/speed.png")
        return
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU")
    torch.set_num_threads(args.threads)
    images = torch.randn(args.batch, 3, *args.size, device=args.device)
    runs = {}
    for task in args.task:
        for name in args.networks:
            known = MODES[task]
            if name.endswith(".onnx"):
                known = [name for name in PROGRAMS if task == "inference" and find_spec(name)]
            for mode in [mode for mode in args.modes if mode in known]:
                print(f"preparing {task}, {name}, {mode}", flush=True)
                runs[task, name, mode] = speed.prepare(name, task, mode, images)
    if not runs:
        parser.error("none of the --modes fits the networks and the --task")
    rows = speed.measure(runs, args.batch, args.rounds)
    for row in rows:
        spread = f"({row['ms_low']:.1f} to {row['ms_high']:.1f})"
        case = f"{row['task']:10} {row['network']:30} {row['mode']:14}"
        print(f"{case} {row['ms']:8.1f} ms {spread:18} {row['ratio']:6.2f}")
    write_csv(rows, args.out / "speed.csv")
    speed.plot_speeds(rows, args.out / "speed.png")
    print(f"written: {args.out}/speed.csv and speed.png")
