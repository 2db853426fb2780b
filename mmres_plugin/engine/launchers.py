"""Which of several processes this one is, before they know of each other."""

import os

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
