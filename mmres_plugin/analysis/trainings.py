"""The trainings of a comparison, each a process of ``mmres train`` that leaves a result file."""

import argparse
import copy
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.utils import get_git_hash

from ..checks import check, fill_channels
from ..errors import UserError, collecting
from ..weights.files import atomic_write
from .backbones import matched, parse, put_in
from .cost import count, find_config
from .csv_files import read_csv

NOT_FIGURES = ("data_time", "time", "step")
LINES = 15  # of the log, shown when a training fails


@dataclass(frozen=True)
class Training:
    """One backbone with one seed.

    Args:
        name: Name of the backbone.
        seed: Seed of the training.
        config: The whole config.
        cost: Parameters and MACs of the backbone.
        folder: Its work directory; config, log and result have the same name and a suffix.
    """

    name: str
    seed: int
    config: Config
    cost: tuple[float, float]
    folder: Path

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def result(self) -> dict | None:
        """What :meth:`run` has kept, or None if the training is not finished."""
        path = self.folder.with_suffix(".json")
        return json.loads(path.read_text()) if path.is_file() else None

    def run(self) -> None:
        """Train to the end, from where an earlier process stopped, and keep the result."""
        settings, log = self.folder.with_suffix(".py"), self.folder.with_suffix(".log")
        with atomic_write(settings) as half:
            half.write_text(self.config.pretty_text)
        command = [sys.executable, "-m", "mmres_plugin", "train", settings, "--resume"]
        command += ["--work-dir", self.folder]
        for number in (signal.SIGINT, signal.SIGTERM):  # end the training, too
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        with log.open("a") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
            try:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                process.terminate()
        if process.returncode:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-LINES:])
            said = f"the training ended with exit code {process.returncode}, log in {log}"
            raise UserError(f"{end}\n\n{self}: {said}. Run the command again to continue.")
        resident = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)  # MiB
        with atomic_write(self.folder.with_suffix(".json")) as half:
            half.write_text(json.dumps(self.read_logs(resident), indent=2) + "\n")

    def read_logs(self, resident: float) -> dict:
        """The result of the finished training; ``resident``: memory of its process in MiB."""
        logs = sorted(self.folder.glob("*/vis_data/scalars.json"))
        entries = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
        steps = [entry for entry in entries if "lr" in entry]
        validations = [entry for entry in entries if "lr" not in entry]
        if not steps or not validations:
            said = "needs val_dataloader, val_cfg, val_evaluator and a LocalVisBackend"
            raise UserError(f"{self}: no log of steps and of a validation; the config {said}")
        times = sorted(entry["time"] for entry in steps)
        return {
            "metrics": {k: v for k, v in validations[-1].items() if k not in NOT_FIGURES},
            "step_ms": round(1000 * times[len(times) // 2], 2),
            "peak_mib": round(max(entry.get("memory", resident) for entry in steps), 1),
            "commit": get_git_hash(fallback="", digits=12),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }


def plan(args: argparse.Namespace, out: Path) -> list[Training]:
    """The trainings that ``mmres compare`` was asked for.

    They come in rounds of one seed, so that an interrupted comparison is still a fair one.

    Raises:
        UserError: If a backbone is unknown or does not fit the config.
    """
    config, size = find_config(args.config, args.cfg_options), tuple(args.size)
    backbones = dict(map(parse, args.backbones))
    if len(backbones) < len(args.backbones):
        raise UserError("--backbones: two have the same name: write NAME=BACKBONE")
    configs, costs = {}, {}
    for name, backbone in backbones.items():
        if args.match and costs:
            first = next(iter(costs.values()))
            backbone = matched(config, backbone, first[1], size)
        if args.weights:
            start = dict(checkpoint=args.weights.replace("{name}", name), prefix="backbone.")
            backbone["init_cfg"] = dict(type="Pretrained", **start)
        configs[name] = put_in(config, backbone)
        fill_channels(configs[name])
        costs[name] = count(configs[name], size, backbone_only=True)
    trainings = []
    for seed in range(args.seeds):
        for name, own in copy.deepcopy(configs).items():
            own.randomness = {**own.get("randomness", {}), "seed": seed}
            if start := own.model.backbone.get("init_cfg"):
                start.checkpoint = start.checkpoint.replace("{seed}", str(seed))
            trainings.append(Training(name, seed, own, costs[name], out / name / f"seed{seed}"))
    return trainings


def restore(out: Path) -> None:
    """Keep what results.csv in ``out`` says of trainings whose own files are gone.

    So a comparison goes on where another machine stopped, from this one file.
    """
    path = out / "results.csv"
    columns = ("backbone", "seed", "metric", "commit", "torch", "threads")
    figures = ("value", "step_ms", "peak_mib")
    for row in read_csv(path, columns, figures) if path.is_file() else ():
        kept = {key: row[key] for key in (*figures[1:], *columns[3:])}
        result = {"metrics": {row["metric"]: row["value"]}, **kept}
        file = out / row["backbone"] / f"seed{row['seed']}.json"
        if not file.exists():
            with atomic_write(file) as half:
                half.write_text(json.dumps(result, indent=2) + "\n")


def check_all(trainings: list[Training]) -> None:
    """Raise one UserError with all that would make a training fail, before the first one starts."""
    problems: list[str] = []
    for training in trainings:
        path, config = training.folder.with_suffix(".py"), training.config
        if path.exists() and Config.fromfile(path).to_dict() != config.to_dict():
            said = f"remove {path.parent}, or choose another --out"
            problems.append(f"--out: {path} is of a training with other settings: {said}")
        file = (config.model.backbone.get("init_cfg") or {}).get("checkpoint", "")
        if file and "://" not in file and not Path(file).is_file():
            problems.append(f"{training}: there is no checkpoint {file}")
        elif training.seed == trainings[0].seed:
            with collecting(problems):
                check(copy.deepcopy(config), "train")
    if problems:
        raise UserError(dict.fromkeys(problems))
