"""Models on the Hugging Face Hub: ``hf://owner/name`` wherever a checkpoint is named.

A repository has weights as safetensors, which can hold no program, a config, and a card. The config
has what is needed to build the model and prepare images. It is written like any MMEngine config,
but read as data, never run (:mod:`.stored_config`).
"""

import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from ..config_parts import innermost, type_name
from ..errors import shortened, user_error
from ..version import __version__
from . import stored_config
from .files import atomic_write, find_state_dict, open_checkpoint, read_checkpoint, write_checkpoint
from .load import fitting, load_model
from .publish import kept_meta

HF_SCHEME = "hf://"
CONFIG, WEIGHTS, CARD = "config.py", "model.safetensors", "README.md"
ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?")
CARD_TEXT = """---
library_name: mmres_plugin
pipeline_tag: {tag}
{license}tags:
- {scope}
---

# {name}

{backbone} in a model of {scope}: weights (`{weights}`) and config (`{config}`) for
mmres_plugin {version}.

Classes: {classes}

```bash
mmres predict photo.jpg hf://{repository}
```

```python
from mmres_plugin.predict import Predictor

Predictor("hf://{repository}")(["photo.jpg"])
```

The backbone alone, in another model:

```python
init_cfg=dict(type="Pretrained", checkpoint="hf://{repository}", prefix="backbone.")
```
"""


def download(address: str, default: str = WEIGHTS) -> Path:
    """The local copy of a file on the hub, fetched if it is not in the cache yet.

    Args:
        address: ``hf://owner/name`` or ``hf://owner/name/file``, with ``@revision`` after the name
            or without.
        default: The file where the address names none.

    Raises:
        FileNotFoundError: If there is no such repository, revision or file, or no connection.
        ValueError: If the address is not of this form.
        ImportError: If huggingface_hub is not installed.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise ValueError(
            f"{address} is not an address on the Hugging Face Hub: hf://owner/name[@revision][/file]"
        )
    repository, revision, name = found.groups()
    import huggingface_hub  # here, since only these addresses need it
    from huggingface_hub import errors

    refused = (errors.HfHubHTTPError, errors.EntryNotFoundError, errors.OfflineModeIsEnabled)
    try:
        path = huggingface_hub.hf_hub_download(repository, name or default, revision=revision)
    except refused as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(
            f"{address} could not be fetched: {reason} Private ones need `hf auth login`. Without "
            f"a connection, run `hf download {repository}` elsewhere and copy "
            f"{huggingface_hub.constants.HF_HUB_CACHE} here"
        ) from error
    return Path(path)


@CheckpointLoader.register_scheme(prefixes=HF_SCHEME, force=True)  # pyright: ignore[reportOptionalCall]
def load_from_hugging_face(filename: str, map_location=None) -> dict:
    """MMEngine's loader of ``hf://…``: for ``init_cfg``, ``load_from``, ``get_model`` …"""
    return read_checkpoint(download(filename))


def fetch_config(address: str) -> Config:
    """The config in a repository on the hub; nothing in it is run.

    Args:
        address: ``hf://owner/name``.

    Raises:
        FileNotFoundError: As :func:`download`.
        ValueError: If the file is more than settings of a plain model.
    """
    return stored_config.read(download(address, CONFIG), address)


def upload(folder: Path, repository: str, private: bool = False) -> str:
    """Upload a folder as a repository, which is made if it does not exist.

    Args:
        folder: The files.
        repository: ``owner/name``.
        private: Whether a repository that is made is private.

    Returns:
        The address of the commit.

    Raises:
        UserError: If the hub cannot be reached or refuses.
    """
    import huggingface_hub

    with user_error(f"{repository} was not uploaded", " (to log in: `hf auth login`)"):
        huggingface_hub.create_repo(repository, private=private, exist_ok=True)
        return str(huggingface_hub.upload_folder(repo_id=repository, folder_path=folder))


def write_repository(
    config: str | Path,
    checkpoint: str | Path,
    folder: str | Path,
    repository: str,
    license: str | None = None,
) -> list[Path]:
    """Write the files of a repository into a folder.

    Args:
        config: The config file that the model was trained with.
        checkpoint: Its checkpoint.
        folder: Where to write; made if missing. A card that is there already stays.
        repository: ``owner/name``, for the card.
        license: An identifier such as ``apache-2.0``.

    Returns:
        The files written.

    Raises:
        UserError: If config or checkpoint cannot be read, or do not fit each other.
    """
    model = load_model(config)
    cfg: Any = model.cfg
    content = open_checkpoint(checkpoint, "checkpoint")
    state = find_state_dict(content, checkpoint)
    fitting(model, state, checkpoint)
    folder, meta = Path(folder), kept_meta(content)
    written = [folder / CONFIG, folder / WEIGHTS]
    with atomic_write(folder / CONFIG) as temporary, user_error("config"):
        temporary.write_text(Config(kept_settings(cfg)).pretty_text, "utf-8")
        stored_config.read(temporary, str(config))
    write_checkpoint({"meta": meta, "state_dict": state}, folder / WEIGHTS)
    if not (folder / CARD).exists():
        with atomic_write(folder / CARD) as temporary:
            temporary.write_text(card(cfg, meta, repository, license), "utf-8")
        written.append(folder / CARD)
    return written


def kept_settings(cfg: Config) -> dict[str, Any]:
    """The settings that go into the repository: no paths, and nothing about training."""
    whole = cfg.to_dict()
    kept = {key: whole[key] for key in stored_config.ALLOWED_KEYS if key in whole}
    dataset = innermost(whole.get("test_dataloader"))
    dataset = {key: dataset[key] for key in ("type", "metainfo", "pipeline") if key in dataset}
    return {**_without_files(kept), "test_dataloader": {"dataset": dataset}}


def _without_files(node: Any) -> Any:
    """Settings without the files that parts start from: the weights are all there."""
    if isinstance(node, dict):
        return {
            key: _without_files(value)
            for key, value in node.items()
            if key != "pretrained" and not (isinstance(value, dict) and "checkpoint" in value)
        }
    return [*map(_without_files, node)] if isinstance(node, list) else node


def card(cfg: Config, meta: dict[str, Any], repository: str, license: str | None) -> str:
    """The text that the repository shows."""
    scope = cfg.get("default_scope") or "mmpretrain"
    return CARD_TEXT.format(
        tag="object-detection" if scope == "mmdet" else "image-classification",
        license=f"license: {license}\n" if license else "",
        scope=scope,
        name=repository.rpartition("/")[2],
        repository=repository,
        backbone=type_name(cfg.model.get("backbone", {})),
        weights=WEIGHTS,
        config=CONFIG,
        version=__version__,
        classes=shortened(meta.get("dataset_meta", {}).get("classes") or ["–"], 20),
    )
