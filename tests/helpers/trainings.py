"""Real processes that run ``mmres train``, and die where a test wants."""

import os
import signal
from functools import partial
from pathlib import Path

from .forked import Forked

# A moment at which a process dies: the function that it calls (of an object in a module), and how
# an argument of that call ends.
MOMENTS = {
    "step": ("mmengine.optim", "OptimWrapper", "step", ""),
    "validate": ("mmengine.runner", "ValLoop", "run_iter", ""),
    "save": ("pathlib", "Path", "write_bytes", ""),  # half of a checkpoint is written
    "rename": ("os", "", "replace", ".pth"),  # a checkpoint has another name yet
    "pointer": ("builtins", "", "open", "/last_checkpoint"),
    "delete": ("os", "", "remove", ".pth"),
}


class Training(Forked):
    """A process that trains.

    Args:
        *args: The command line, as of ``mmres train``.
        log: The file for all it prints.
        die: One of :data:`MOMENTS`, and the count of the call in which it kills itself.
    """

    def __init__(self, *args: object, log: Path, die: tuple[str, int] | None = None) -> None:
        self.log = log
        super().__init__(("train", *args), log, prepare=partial(_die_at, *die) if die else None)

    def end(self, seconds: float = 600) -> int:
        """Its exit code, negative for a signal, once it has ended."""
        code = super().end(seconds)
        assert code is not None, f"still running: {self.said[-3000:]}"
        return code

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text()


def train(*args: object, log: Path, code: int = 0) -> str:
    """Run a training to its end, want this exit code, return all that was printed."""
    training = Training(*args, log=log)
    assert training.end() == code, training.said[-4000:]
    return training.said


def _die_at(moment: str, count: int) -> None:
    module, owner, name, ending = MOMENTS[moment]
    place = __import__(module, fromlist=["_"])
    place = getattr(place, owner) if owner else place
    original = getattr(place, name)
    left = [count]

    def function(*args, **kwargs):
        if any(str(one).endswith(ending) for one in args):
            left[0] -= 1
            if not left[0]:
                if name == "write_bytes":
                    original(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(place, name, function)
