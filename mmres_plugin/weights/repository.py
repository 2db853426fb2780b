"""A trained model as a repository of the Hugging Face Hub: weights, config and card.

The weights are safetensors, which can hold no program. The config has what is needed to build the
model and prepare images. It is written like any MMEngine config, but read as data, never run.
"""

import ast
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checks.model import build_model
from ..config import load_config
from ..config_parts import innermost, type_name
from ..errors import UserError, shortened, user_error
from ..version import __version__
from ..weights.files import (
    atomic_write,
    find_meta,
    find_state_dict,
    open_checkpoint,
    write_checkpoint,
)
from ..weights.fit import fit_problem
from ..weights.hugging_face import WEIGHTS, download
from ..weights.publish import KEPT_META
from .stored_config import check_types

CONFIG, CARD = "config.py", "README.md"
KEPT = ("default_scope", "data_preprocessor", "model")  # of the config
KEPT_OF_DATA = ("type", "metainfo", "pipeline")
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
    cfg = load_config(config)
    model = build_model(cfg)
    if model is None:
        raise UserError([f"the config {config} has no 'model'"])
    content = open_checkpoint(checkpoint, "checkpoint")
    state = find_state_dict(content, checkpoint)
    problem, _ = fit_problem(model, state)
    if problem:
        raise UserError([f"checkpoint: {checkpoint} does not fit the model.\n{problem}"], "")
    folder = Path(folder)
    with user_error("config"):
        settings = kept_settings(cfg)
        check_types(settings, config)
    meta = {key: value for key, value in find_meta(content).items() if key in KEPT_META}
    meta["mmres_plugin_version"] = __version__
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(Config(settings).pretty_text)
        with user_error("config"):
            read_config(temporary, str(config))
    write_checkpoint({"meta": meta, "state_dict": state}, folder / WEIGHTS)
    written = [folder / CONFIG, folder / WEIGHTS]
    if not (folder / CARD).exists():
        with atomic_write(folder / CARD) as temporary:
            temporary.write_text(card(cfg, meta, repository, license), "utf-8")
        written.append(folder / CARD)
    return written


def kept_settings(cfg: Config) -> dict[str, Any]:
    """The settings that go into the repository: no paths, and nothing about training."""
    whole = cfg.to_dict()
    kept = {key: whole[key] for key in KEPT if key in whole}
    backbone = kept["model"].get("backbone")
    if isinstance(backbone, dict):
        backbone.pop("init_cfg", None)  # the weights are all there
    dataset = innermost(whole.get("test_dataloader"))
    dataset = {key: dataset[key] for key in KEPT_OF_DATA if key in dataset}
    return {**kept, "test_dataloader": {"dataset": dataset}}


def card(cfg: Config, meta: dict[str, Any], repository: str, license: str | None) -> str:
    """The text that the repository shows."""
    scope = cfg.get("default_scope") or "mmpretrain"
    classes = list((meta.get("dataset_meta") or {}).get("classes") or [])
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
        classes=shortened(classes, 20) or "–",
    )


def fetch_config(address: str) -> Config:
    """The config in a repository on the hub; nothing in it is run.

    Args:
        address: ``hf://owner/name``.

    Raises:
        FileNotFoundError: As :func:`download`.
        ValueError: If the file is more than settings, or names types that no registry has.
    """
    return read_config(download(address, CONFIG), address)


def read_config(path: Path, address: str) -> Config:
    """The settings in a config file without a base, which is read and not run.

    Raises:
        ValueError: If it has anything but settings, or names types that no registry has.
    """
    settings = {}
    try:
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
                raise ValueError(f"line {node.lineno} is not a setting")
            settings[node.targets[0].id] = _value(node.value)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the config of {address} was refused, and not run: {error}") from error
    check_types(settings, address)
    return Config(settings)


def _value(node: ast.expr) -> Any:
    """The value of an expression of literals and ``dict(…)``."""
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id != "dict" or node.args:
            raise ValueError(f"line {node.lineno} calls a function")
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {ast.literal_eval(key): _value(value) for key, value in pairs if key}
    if isinstance(node, ast.List | ast.Tuple):
        values = [_value(value) for value in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    return ast.literal_eval(node)
