"""A rehearsal: one step of training and one of validation, before the run.

Everything in it is what the run will use (data sets, pipelines, loops, model, losses, optimizer,
schedulers, hooks, evaluator), but for one batch of at most two images, which a detector gets in
small. So whatever would end the run in its first epoch ends the rehearsal. :mod:`.places` finds out
where in the config the cause of an error stands.
"""

from .datasets import Built, build_datasets
from .runner import rehearse

__all__ = ["Built", "build_datasets", "rehearse"]
