"""Several processes of one run: ranks, process groups without GPUs, and their ends."""

import atexit
import os
import sys

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed

# How launchers number processes, in all and on each machine: torchrun, Slurm, Open MPI.
RANKS = (
    ("RANK", "LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_LOCALID"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
)


def is_first() -> bool:
    """Whether this is the only process, or the first of all that a launcher started."""
    return _ranks()[0] == 0


def is_first_on_its_machine() -> bool:
    """Whether this is the only process, or the first that a launcher started on this machine."""
    return _ranks()[1] == 0


def _ranks() -> tuple[int, int]:
    for rank, local_rank in RANKS:
        if rank in os.environ:
            return int(os.environ[rank]), int(os.environ.get(local_rank, os.environ[rank]))
    return 0, 0


def use_cpus(cfg: Config) -> None:
    """Let several processes run without GPUs; MMEngine would give each of them one."""
    torch.distributed.init_process_group("gloo")
    if cfg.get("model_wrapper_cfg") is None:
        cfg.model_wrapper_cfg = dict(
            type="MMDistributedDataParallel",
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get("find_unused_parameters", False),
        )


def leave_process_group() -> None:
    """Wait for the other processes and end this one, at the end of a run of several.

    A launcher stops all processes when one of them fails, and a process that ends with its group
    open while the first one still evaluates may fail.
    """
    if is_distributed():
        torch.distributed.barrier()
        end_process(0)


def end_process(code: int) -> None:
    """End the process with this exit code.

    Once a model has been wrapped, PyTorch keeps gloo's threads alive, even after the group is
    destroyed. Such a thread, running while Python shuts down, aborts the process ("terminate called
    without an active exception"). So with gloo the exit functions run, and the shutdown does not.
    """
    if is_distributed():
        gloo = torch.distributed.get_backend() == "gloo"
        if not code:  # else other processes may be gone, and this one would wait for them
            torch.distributed.destroy_process_group()
        if gloo or code:
            atexit._run_exitfuncs()  # nothing public runs them without the shutdown
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)
