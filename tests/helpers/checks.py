"""What the checks before a run say of a config."""

from argparse import Namespace
from pathlib import Path

from mmres_plugin.checks import check
from mmres_plugin.engine.runner import read_config
from mmres_plugin.errors import UserError


def problems(config: Path, task: str = "train", **options) -> str:
    """What the checks say of a config with these options (``a__b`` for ``a.b``); '' for nothing."""
    args = Namespace(
        config=str(config),
        cfg_options={key.replace("__", "."): value for key, value in options.items()},
        work_dir=None,
        launcher="none",
        no_pin_memory=True,
        no_persistent_workers=False,
    )
    try:
        cfg = read_config(args, ("train", "val") if task == "train" else ("test",))
        check(cfg, task)
    except UserError as error:
        return str(error)
    return ""
