"""A config that a checkpoint carries is not run."""

from mmengine.hooks import Hook
from mmengine.runner import Runner


class DropStoredConfig(Hook):
    """Removes the text of a config from a checkpoint that is resumed.

    MMEngine would run it, as the Python program that a config is, to compare the number of GPUs.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called between reading the file and looking into it."""
        checkpoint.get("meta", {}).pop("config", None)
