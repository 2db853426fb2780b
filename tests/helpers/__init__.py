"""What several tests need: processes, random weights, and the files next to this one.

:mod:`.data` writes tiny data sets, :mod:`.configs` configs for them, :mod:`.weights` checkpoint
files of every kind.
"""

import os
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from .forked import Forked

ROOT = Path(__file__).parents[2]
# The package under test is the repository's, also in processes that start in another folder.
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
}


def complete(*command: object, **kwargs) -> subprocess.CompletedProcess:
    """Run a command to its end, whatever its exit code.

    Args:
        *command: The program and its arguments. ``"mmres"`` starts at once, in a process forked
            from one that has everything imported; a path that ends with ``.py`` is run by this
            Python, one that ends with ``.sh`` by bash.
        **kwargs: As in :func:`subprocess.run`; ``mmres`` takes ``cwd`` alone.
    """
    if command[0] == "mmres":
        return _forked(command[1:], **kwargs)
    interpreters = {".py": [sys.executable], ".sh": ["bash"]}
    start = interpreters.get(Path(str(command[0])).suffix, [])
    settings = {"env": ENV, "capture_output": True, "text": True, "timeout": 900, **kwargs}
    return subprocess.run([*start, *map(str, command)], check=False, **settings)


def _forked(words: tuple, cwd: Path | None = None) -> subprocess.CompletedProcess:
    with TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = Forked(words, out, err, cwd)
        code = process.end(900)
        if code is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, 900, out.read_text(), err.read_text())
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def run(*command: object, code: int = 0, **kwargs) -> str:
    """:func:`complete`, want this exit code, return all that was printed."""
    done = complete(*command, **kwargs)
    output = done.stdout + done.stderr
    assert done.returncode == code, output[-4000:]
    return output


def call(command: str, *args: object) -> int:
    """Run ``mmres COMMAND`` within this process; return its exit code.

    A mistake of the user is raised, as a UserError.
    """
    try:
        return import_module(f"mmres_plugin.commands.{command}").main([*map(str, args)]) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and statistics, in evaluation mode: a fresh norm hides every mistake.

    Factors of norms are negative as well, as they are in trained networks.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif name.endswith("weight") and tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5, generator=generator)
            tensor[::3] *= -1
        elif tensor.is_floating_point():
            fan_in = tensor[0].numel() if tensor.dim() > 1 else 100
            tensor.normal_(0, fan_in**-0.5, generator=generator)
    model.eval()  # returns nothing in MMDetection
    return model
