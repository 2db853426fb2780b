"""The trainings of a comparison: each is a process of tools/train.py that leaves a result file."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..errors import UserError
from ..weights.files import atomic_write

TRAIN = Path(__file__).parents[2] / "train.py"
LINES = 15  # of the log, shown when a training fails
NOT_FIGURES = ("data_time", "time", "step")


class TrainingFailed(Exception):
    """A training ended with an error; the text says which one and shows the end of its log."""


@dataclass(frozen=True)
class Run:
    """One backbone with one seed.

    Args:
        name: Name of the backbone.
        seed: Seed of the training.
        config: The whole config.
        out: Folder of the comparison.
    """

    name: str
    seed: int
    config: Config
    out: Path

    def path(self, suffix: str = "") -> Path:
        """The work directory of the training, or a file next to it."""
        return self.out / self.name / f"seed{self.seed}{suffix}"

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def result(self) -> dict | None:
        """What :func:`train` returned, or None if the training is not finished."""
        path = self.path(".json")
        return json.loads(path.read_text()) if path.is_file() else None

    def prepare(self) -> None:
        """Write the config, or see that it is the same as when the run was first started.

        Raises:
            UserError: If it is not.
        """
        path = self.path(".py")
        if not path.exists():
            with atomic_write(path) as temporary:
                temporary.write_text(self.config.pretty_text)
        elif Config.fromfile(path)._cfg_dict != self.config._cfg_dict:
            raise UserError(
                [
                    f"--out: {path} is of a run with other settings. Choose another --out, or "
                    f"remove {path.parent}"
                ]
            )


def train(run: Run, gpu: str | None, live: set[subprocess.Popen]) -> dict:
    """Train to the end, from where an earlier process stopped, and keep the result in a file.

    Args:
        run: What to train.
        gpu: The only GPU that the training may see, as in ``CUDA_VISIBLE_DEVICES``; None
            changes nothing.
        live: Holds the process as long as it runs.

    Returns:
        ``metrics``, the figures of the last validation; ``step_ms``, the median time of a step;
        ``peak_mib``, the peak memory, on a CPU of the whole process; ``seconds`` of this process.

    Raises:
        TrainingFailed: If the training fails, or another process is training this run.
    """
    log = run.path(".log")
    # The command that starts all trainings has done the checks.
    options = ["--work-dir", run.path(), "--resume", "--no-checks"]
    command = [sys.executable, TRAIN, run.path(".py"), *options]
    env = dict(os.environ) if gpu is None else {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
    with alone(run) as lock, log.open("a") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],  # held also by a training whose parent was killed
        )
        live.add(process)
        _, status, usage = os.wait4(process.pid, 0)
        live.remove(process)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-LINES:])
            raise TrainingFailed(
                f"{run}: the training ended with exit code {process.returncode}.\n{end}\n"
                f"All of its output: {log}"
            )
        # Bytes on macOS, KiB elsewhere.
        resident = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        result = read_result(run, resident)
        with atomic_write(run.path(".json")) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")
    return result


@contextmanager
def alone(run: Run) -> Iterator[int]:
    """A locked file, so that no two processes train the same run."""
    with run.path(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingFailed(f"{run} is being trained by another process") from None
        yield file.fileno()


def read_result(run: Run, resident: float) -> dict:
    """The result of a finished training from its logs; ``resident`` is its memory in MiB."""
    logs = sorted(run.path().glob("*/vis_data/scalars.json"))
    entries = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    steps = [entry for entry in entries if "lr" in entry]
    validations = [entry for entry in entries if "lr" not in entry]
    if not steps or not validations:
        raise TrainingFailed(
            f"{run}: {run.path()} has no logs of training steps and of a validation. The config "
            "needs val_dataloader, val_cfg and val_evaluator, and a LocalVisBackend"
        )
    times = sorted(entry["time"] for entry in steps)
    return {
        "metrics": {k: v for k, v in validations[-1].items() if k not in NOT_FIGURES},
        "step_ms": 1000 * times[len(times) // 2],
        "peak_mib": max(
            (entry["memory"] for entry in steps if "memory" in entry), default=resident
        ),
    }
