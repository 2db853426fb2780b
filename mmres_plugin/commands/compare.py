"""Which backbone, on your data, at your cost? Train several under one recipe and compare.

    python tools/analysis/compare_backbones.py configs/my_config.py --seeds 3 \\
        --backbones resnet50 sreresnet50 iresnet50 "b=EDResNet:depth=50,width_per_group=36"

Each backbone takes the place of the one in the config, a classifier's or a detector's; neck and
head follow. Every training is a process of tools/train.py. A rerun goes on where a killed one
stopped. The folder ``--out`` gets ``results.csv``, ``results.md`` and ``results.png``.
"""

import argparse
import copy
import queue
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path

from mmengine.config import Config, DictAction

from ..analysis.backbones import cost, matched, parse, put_in
from ..analysis.report import Row, plot, read_csv, table, write_csv
from ..analysis.runs import Run, TrainingFailed, train
from ..checks import check
from ..checks.channels import fill_channels
from ..config import load_config
from ..engine.runner import prepared_loader
from ..errors import UserError, collecting, did_you_mean, shortened
from .cost import IMAGENET_SIZE

METRICS = ("accuracy/top1", "coco/bbox_mAP")  # the first one found is compared


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", nargs="?", help="a classifier or a detector")
    parser.add_argument(
        "--backbones",
        nargs="+",
        metavar="BACKBONE",
        help="names of the hub (sreresnet50), classes with their arguments "
        "(SReResNet:depth=18,recursions=0) or configs, each as NAME=… if you like; "
        "differences are relative to the first one",
    )
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each (default: 3)")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="checkpoints to start from; {name} and {seed} in it stand for those of the run "
        "(default: random weights, nothing frozen)",
    )
    parser.add_argument(
        "--match", choices=["macs"], help="change the widths so that all cost what the first does"
    )
    parser.add_argument(
        "--size",
        nargs=2,
        type=int,
        default=IMAGENET_SIZE,
        metavar=("HEIGHT", "WIDTH"),
        help="of the image for which MACs are counted (default: 224 224)",
    )
    parser.add_argument("--metric", help=f"what to compare (default: {' or '.join(METRICS)})")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="as in tools/train.py")
    parser.add_argument("--out", type=Path, help="default: work_dirs/compare/<name of the config>")
    parser.add_argument(
        "--gpus", nargs="+", metavar="GPU", help="train on these at once, one run on each"
    )
    parser.add_argument("--list", action="store_true", help="list the runs and start nothing")
    parser.add_argument(
        "--only", type=int, metavar="INDEX", help="start this run of the list, for job arrays"
    )
    parser.add_argument(
        "--plot",
        nargs="+",
        type=Path,
        metavar="CSV",
        help="draw results.png from these files, a panel for each, and train nothing",
    )
    args = parser.parse_args(argv)
    if bool(args.plot) == bool(args.config and args.backbones):
        parser.error("give a config and --backbones, or --plot")
    if args.seeds < 1:
        parser.error(f"--seeds is {args.seeds}, must be 1 or more")
    if args.out is None:
        args.out = Path("work_dirs/compare", Path(args.config or "plot").stem)
    return args


def all_runs(args: argparse.Namespace) -> list[Run]:
    """The trainings, in rounds of one seed: an interrupted comparison is still a fair one."""
    config = load_config(args.config, args.cfg_options)
    if "backbone" not in config.get("model", {}):
        raise UserError([f"the config {args.config} has no model with a backbone"])
    backbones = [parse(text) for text in args.backbones]
    names = [backbone.name for backbone in backbones]
    if len(set(names)) < len(names):
        said = f"two have the same name ({', '.join(names)}): use NAME=BACKBONE"
        raise UserError([f"--backbones: {said}"])
    if args.match:
        macs = cost(put_in(config, backbones[0]), args.size).macs
        backbones[1:] = [matched(config, one, macs, args.size) for one in backbones[1:]]
    runs = []
    for backbone in backbones:
        fitted = put_in(config, backbone, args.weights)
        try:
            fill_channels(fitted)
        except UserError as error:
            raise UserError([f"{backbone.name}: {text}" for text in error.problems]) from error
        runs += [run_of(fitted, backbone.name, seed, args.out) for seed in range(args.seeds)]
    return sorted(runs, key=lambda run: run.seed)


def run_of(config: Config, name: str, seed: int, out: Path) -> Run:
    """The training of a config with this seed."""
    config = copy.deepcopy(config)
    config.randomness = {**config.get("randomness", {}), "seed": seed}
    start = config.model.backbone.get("init_cfg")
    if isinstance(start, dict) and "checkpoint" in start:
        start.checkpoint = start.checkpoint.replace("{name}", name).replace("{seed}", str(seed))
    return Run(name, seed, config, out)


def check_all(runs: list[Run]) -> None:
    """Raise one UserError with all that would make a training fail, before the first one starts."""
    problems: list[str] = []
    starts = [run.config.model.backbone.get("init_cfg") for run in runs]
    if any(starts) and not all(starts):
        problems.append("some backbones have weights to start from (init_cfg), others have none")
    todo = [run for run in runs if run.result is None]
    for run in {run.name: run for run in reversed(todo)}.values():  # the first seed of each
        config = copy.deepcopy(run.config)
        for loop in ("train_dataloader", "val_dataloader"):  # as tools/train.py will do
            if config.get(loop) is not None:  # else the checks say that it is missing
                config[loop] = prepared_loader(config[loop], config.get("default_scope"))
        with collecting(problems):
            check(config, "train")
    for run in todo:
        file = (run.config.model.backbone.get("init_cfg") or {}).get("checkpoint", "")
        if file and "://" not in file and not Path(file).is_file():
            problems.append(f"{run}: there is no checkpoint {file}")
    if problems:
        raise UserError(dict.fromkeys(problems))


def train_all(runs: list[Run], args: argparse.Namespace) -> None:
    """Train what is not finished, and write the report when all have trained with a seed."""
    todo = [run for run in runs if run.result is None]
    gpus: queue.Queue[str | None] = queue.Queue()
    for gpu in args.gpus or [None]:
        gpus.put(gpu)
    live: set[subprocess.Popen] = set()

    def one(run: Run) -> Run:
        gpu = gpus.get()
        say(f"{run}: training, log in {run.path('.log')}")
        try:
            train(run, gpu, live)
        finally:
            gpus.put(gpu)
        return run

    start = time.monotonic()
    with ThreadPoolExecutor(gpus.qsize()) as pool:
        futures = [pool.submit(one, run) for run in todo]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                run = future.result()
                left = (time.monotonic() - start) / done * (len(todo) - done)
                figure = pick(run.result["metrics"], args.metric)
                say(
                    f"{run}: {figure[0]} {figure[1]:.4g}, {len(runs) - len(todo) + done} of "
                    f"{len(runs)} done, about {timedelta(seconds=round(left))} left"
                )
                if all(other.result for other in runs if other.seed == run.seed):
                    report(runs, args)
        finally:  # a failure or an interruption ends all trainings
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(live):
                process.terminate()


def pick(metrics: dict[str, float], wanted: str | None) -> tuple[str, float]:
    """Name and value of the figure to compare.

    Raises:
        UserError: If it was not measured.
    """
    for name in [wanted] if wanted else [*METRICS, *metrics]:
        if name in metrics:
            return name, metrics[name]
    known, hint = shortened(list(metrics), 12), did_you_mean(wanted, metrics)
    raise UserError([f"--metric: there is no {wanted}, only {known}.{hint}"], headline="")


def report(runs: list[Run], args: argparse.Namespace) -> str:
    """Write ``results.csv``, ``results.md`` and ``results.png``. Returns the table."""
    costs = {run.name: cost(run.config, args.size) for run in runs if run.seed == 0}
    rows = [
        Row(
            *(run.name, run.seed, *pick(result["metrics"], args.metric), *costs[run.name]),
            *(round(result["step_ms"], 2), round(result["peak_mib"], 1)),
        )
        for run in runs
        if (result := run.result)
    ]
    text = table(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    write_csv(rows, args.out / "results.csv")
    (args.out / "results.md").write_text(text + "\n")
    plot({Path(args.config).stem: rows}, args.out / "results.png")
    return text


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    if args.plot:
        plot({path.stem: read_csv(path) for path in args.plot}, args.out / "results.png")
        print(f"written: {args.out}/results.png")
        return 0
    runs = all_runs(args)
    if args.list:
        for index, run in enumerate(runs):
            print(index, run, "(finished)" if run.result else "", sep="\t")
        return 0
    if args.only is not None:
        if not 0 <= args.only < len(runs):
            raise UserError([f"--only is {args.only}, must be 0 to {len(runs) - 1}"])
        runs = [runs[args.only]]
    check_all(runs)
    for run in runs:
        run.prepare()
    try:
        train_all(runs, args)
    except TrainingFailed as error:
        print(f"\n{error}\nRun the command again to continue.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the command again to continue.", file=sys.stderr)
        return 130
    if args.only is None:
        print(f"\n{report(runs, args)}\n\nwritten: {args.out}/results.csv, .md and .png")
    return 0
