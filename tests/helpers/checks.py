"""What the checks before a run say of a config."""

from pathlib import Path

from mmres_plugin.checks import Remark, Setup, find_problems
from mmres_plugin.config import load_config
from mmres_plugin.errors import UserError


def findings(config: Path, task: str = "train", **options) -> list[str]:
    """What the checks say of a config with these options (``a__b`` for ``a.b``)."""
    try:
        cfg = load_config(config, {key.replace("__", "."): v for key, v in options.items()})
        cfg.setdefault("work_dir", "none")
        return find_problems(Setup(cfg, task))
    except UserError as error:
        return error.problems


def problems(config: Path, task: str = "train", **options) -> str:
    """The errors of a config; '' for none."""
    found = findings(config, task, **options)
    return "\n".join(text for text in found if not isinstance(text, Remark))


def remarks(config: Path, task: str = "train", **options) -> str:
    """What is said of a config that may train; '' for nothing."""
    found = findings(config, task, **options)
    return "\n".join(text for text in found if isinstance(text, Remark))
