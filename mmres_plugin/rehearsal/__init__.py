"""A rehearsal: one step of training and one of validation, before the run.

It uses what the run will use (data sets, pipelines, loops, model, losses, optimizer, schedulers,
hooks, evaluator), but one batch of at most two images, which are shrunk for detectors. So what
would end the run in its first epoch ends the rehearsal. :mod:`.places` finds the place in the
config that caused an error.
"""

from .datasets import Built, build_datasets
from .runner import rehearse

__all__ = ["Built", "build_datasets", "rehearse"]
