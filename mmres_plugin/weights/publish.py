"""Turn the checkpoint of a training run into a file to publish."""

import os
from pathlib import Path
from typing import Any

from ..version import __version__
from . import files

# Of the meta data these stay; the rest (the config, paths, the time, the machine) is the author's.
KEPT_META = ("dataset_meta", "epoch", "iter", "mmengine_version", "model", "source")


def publish_checkpoint(src: str | Path, dst: str | Path) -> Path:
    """Write the weights of a checkpoint to a file that carries the hash of its content.

    The optimizer's state, the schedules, the logs and the config are left out. With MMEngine's
    ``EMAHook`` a checkpoint has two sets of weights; the averaged ones are published, which are
    those that validation has measured.

    Args:
        src: A checkpoint of a training.
        dst: Name of the file, ending with ``.pth`` or ``.safetensors``. Its first eight digits of
            SHA-256 are added: ``iresnet50.pth`` becomes ``iresnet50-0123abcd.pth``.

    Returns:
        The path written.

    Raises:
        FileNotFoundError: If there is no ``src``.
        ValueError: If ``src`` is no checkpoint, is damaged, would run code, or has NaN or
            infinite weights; if ``dst`` ends otherwise.
    """
    dst = files.checked_suffix(dst)
    checkpoint = files.read_checkpoint(src)
    # While it is saved, EMAHook swaps the two: `state_dict` are the averaged weights.
    state_dict = files.find_state_dict(checkpoint, src)
    meta = kept_meta(checkpoint)
    # Under a name of its own until the hash is known: `dst` may be a file, even `src`.
    unnamed = dst.with_name(f".{dst.stem}.{os.getpid()}{dst.suffix}")
    files.write_checkpoint({"meta": meta, "state_dict": state_dict}, unnamed)
    return unnamed.rename(dst.with_stem(f"{dst.stem}-{files.sha256(unnamed)[:8]}"))


def kept_meta(checkpoint: dict) -> dict[str, Any]:
    """The meta data to publish: among them the classes, by the name that they have today."""
    meta = files.find_meta(checkpoint)
    kept = {key: meta[key] for key in KEPT_META if key in meta}
    classes = files.find_classes(checkpoint)
    if classes:
        kept["dataset_meta"] = {**kept.get("dataset_meta", {}), "classes": classes}
    return {**kept, "mmres_plugin_version": __version__}
