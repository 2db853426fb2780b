"""Configs stored with weights: data of unknown origin, from which a model is built.

Three locks, since none holds alone. The text may hold values and nothing else (:func:`read`). Types
must be of modules that only compute, and no value may name a file, an address or a program
(:func:`check_types`). And the model is built once for trial, without memory, while whatever reaches
out of the process is refused (:func:`try_out`).
"""

import ast
import re
import site
import sys
import sysconfig
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine import registry
from mmengine.config import Config
from mmpretrain.registry import BATCH_AUGMENTS

from ..config import build_model
from ..errors import reason_of, shortened
from .fit import OnMeta

ALLOWED_KEYS = ("default_scope", "data_preprocessor", "model", "test_dataloader")
SCOPES = ("mmengine", "mmpretrain", "mmdet", "mmres_plugin")
# Modules whose registered classes compute, and neither read files nor fetch other models (data sets
# do, but of these only the names of the classes are looked up) …
PLAIN = (
    *("mmres_plugin", "mmengine.model", "mmengine.utils", "torch.nn", "torchvision.transforms"),
    *("mmcv.cnn.bricks", "mmcv.ops", "mmcv.transforms", "mmpretrain.datasets", "mmdet.datasets"),
    *(f"mmpretrain.models.{part}" for part in ("backbones", "heads", "losses", "necks", "utils")),
    "mmpretrain.models.classifiers.image",
    *(f"mmdet.models.{part}" for part in ("backbones", "data_preprocessors", "dense_heads")),
    *(f"mmdet.models.{part}" for part in ("detectors", "layers", "losses", "necks", "roi_heads")),
    *("mmdet.models.seg_heads", "mmdet.models.task_modules", "mmdet.models.reid"),
)
# … but for these.
READERS = (
    "mmpretrain.models.backbones.timm_backbone",
    *(f"mmpretrain.models.heads.{name}_head" for name in ("margin", "vqa")),
    *(f"mmpretrain.models.utils.{name}" for name in ("huggingface", "tokenizer")),
    *(f"mmdet.models.detectors.{name}" for name in ("kd_one_stage", "lad", "d2_wrapper")),
    *("mmdet.models.task_modules.tracking", "mmdet.datasets.transforms.text_transformers"),
)
# Values of `type` that are no registered names: functions and layers of MMCV, ways to enlarge maps.
OTHER_TYPES = ("nms", "soft_nms", "nms_match", "RoIAlign", "RoIPool", "conv", "last_conv")
OTHER_TYPES += ("interpolation_conv", "dilation", "offset")
# An address, a path, a file name, a call, or an attribute of Python's own.
REACHES_OUT = re.compile(r"[/\\](?!\d)|[(~]|__|\.[A-Za-z]\w{0,11}$")
MOST_TEXT = 200_000  # characters
MOST = 32_768  # largest whole number, such as channels, classes or pixels
INFINITY = 1e8  # largest other number: what MMDetection writes for it
MOST_TENSORS, MOST_NUMBERS = 8_000, 2_000_000_000  # of a model
CLASSES = ".test_dataloader.dataset.metainfo.classes."  # names may look like anything


def read(path: Path, address: str) -> Config:
    """The settings in a config file without a base, which is read and not run.

    Args:
        path: The file.
        address: Where it comes from, for the message.

    Raises:
        ValueError: If it is more than settings, or settings of more than a plain model.
    """
    try:
        settings = _settings(path.read_text("utf-8"))
        check_types(settings)
        cfg = Config(settings)
        try_out(cfg)
    except Exception as error:  # the parser and the constructors raise whatever comes
        reason = "nested too deeply" if isinstance(error, RecursionError) else reason_of(error)
        raise ValueError(
            f"the config of {address} was refused, and nothing of it was run: {reason[:600]}"
        ) from error
    return cfg


def check_types(settings: dict[str, Any]) -> None:
    """Raise ValueError unless settings name plain types only, and nothing outside of them."""
    unknown = [key for key in settings if key not in ALLOWED_KEYS]
    if unknown:
        raise ValueError(f"it has keys that build no model: {shortened(unknown)}")
    refused = []
    for place, value in _entries(settings, ""):
        key = place.rpartition(".")[2]
        if key in ("default_scope", "_scope_"):
            fits = value in (None, *SCOPES)
        elif key == "type":
            fits = value in OTHER_TYPES or _is_plain(str(value))
        elif isinstance(value, str):
            is_name = place.startswith(CLASSES)
            fits = is_name or not (REACHES_OUT.search(value) or Path(value).is_file())
        else:  # no bytes, which can be a path, and no sets, whose values have no place
            limit = INFINITY if isinstance(value, float) else MOST
            fits = value is None or (isinstance(value, int | float) and abs(value) <= limit)
        if not fits:
            refused.append(f"{place[1:]}={value!r}")
    if refused:
        raise ValueError(
            "it names what is not known to be plain, or what could be a file or a program, or is "
            f"too large: {shortened(refused)}"
        )


def try_out(cfg: Config) -> None:
    """Build the model and the pipeline of ``cfg`` once, without memory and with no way out.

    Raises:
        ValueError: If something reached out, or the model is absurdly large, or cannot be built.
    """
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    scope = registry.DefaultScope.overwrite_default_scope(cfg.get("default_scope"))
    with alone(), _Limited(), scope:
        build_model(cfg)
        for transform in dataset.get("pipeline") or []:
            registry.TRANSFORMS.build(dict(transform))


def _settings(text: str) -> dict[str, Any]:
    if len(text) > MOST_TEXT:
        raise ValueError(f"it has {len(text):,} characters, more than {MOST_TEXT:,}")
    settings = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            raise ValueError(f"line {node.lineno} is not a setting")
        settings[node.targets[0].id] = ast.literal_eval(_Dicts().visit(node.value))
    return settings


class _Dicts(ast.NodeTransformer):
    """Makes literals of the calls of ``dict``."""

    def visit_Call(self, node: ast.Call) -> ast.Dict:
        if not isinstance(node.func, ast.Name) or node.func.id != "dict" or node.args:
            raise ValueError(f"line {node.lineno} calls a function")
        names: list[Any] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(names, [self.visit(keyword.value) for keyword in node.keywords])


def _entries(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Place and value of each entry in nested dicts and lists."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        here = f"{place}.{key}"
        if isinstance(value, dict | list | tuple):
            yield from _entries(value, here)
        else:
            yield here, value


def _is_plain(name: str) -> bool:
    """Whether all registered classes of that name, in a scope that we know or none, are plain."""
    scope, _, short = name.rpartition(".")
    modules = _modules().get(short) if scope in ("", *SCOPES) else None
    return bool(modules) and all(_is_in(m, PLAIN) and not _is_in(m, READERS) for m in modules)


@cache
def _modules() -> dict[str, set[str]]:
    """The modules of all registered classes, by their names without scopes."""
    for scope in SCOPES:
        if find_spec(scope):
            import_module(f"{scope}.registry")
    modules = defaultdict(set)
    tables = [registry.MODELS, registry.TASK_UTILS, registry.TRANSFORMS, registry.DATASETS]
    tables += [registry.WEIGHT_INITIALIZERS, BATCH_AUGMENTS]
    for table in tables:
        table.import_from_location()
        tables += table.children.values()  # which the loop comes to as well
        for name, kind in table.module_dict.items():
            modules[name].add(kind.__module__)
    return modules


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return f"{module}.".startswith(tuple(f"{package}." for package in packages))


class _Limited(OnMeta):
    """Refuses models that are absurdly large, before they take time."""

    tensors = numbers = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs)
        if func in (torch.empty, torch.zeros, torch.ones):
            self.tensors += 1
            self.numbers += result.numel()
        if self.numbers > MOST_NUMBERS or self.tensors > MOST_TENSORS:
            raise ValueError("its model is absurdly large")
        return result


# What a model may not do while it is built, by the names of Python's audit events.
OUTSIDE = ("socket.", "subprocess.", "os.", "shutil.", "ctypes.", "pickle.", "urllib.", "http.")
OUTSIDE += ("ftplib.", "tempfile.", "webbrowser.", "_thread.start_new_thread", "mmap.", "sqlite3.")
HARMLESS = ("os.listdir", "os.scandir", "os.walk")
_builder = threading.local()


@contextmanager
def alone() -> Iterator[None]:
    """While it lasts, this thread opens nothing but installed packages, and starts nothing.

    Raises:
        ValueError: At the end, if anything was refused.
    """
    _add_hook()
    _builder.refused = []
    try:
        yield
    finally:
        refused, _builder.refused = _builder.refused, None
        if refused:
            raise ValueError(f"it reached out while it was built ({shortened(refused)})")


@cache
def _add_hook() -> None:  # once, since Python cannot take one back
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple) -> None:
    refused = getattr(_builder, "refused", None)
    if refused is None:
        return
    if event == "open":
        path, mode, _ = arguments
        writes = isinstance(mode, str) and not set(mode) <= set("rbt")
        fits = isinstance(path, str | bytes) and not writes and _is_installed(path)
    elif event == "exec":
        fits = _is_installed(getattr(arguments[0], "co_filename", ""))
    else:
        fits = event in HARMLESS or not event.startswith(OUTSIDE)
    if not fits:
        refused.append(f"{event} {str(arguments[0])[:100]}" if arguments else event)
        raise PermissionError(f"a config from elsewhere may not do this: {event}")


def _is_installed(path: str | bytes) -> bool:
    text = path.decode() if isinstance(path, bytes) else path
    return str(Path(text).absolute()).startswith(_installed()) and ".." not in text


@cache
def _installed() -> tuple[str, ...]:
    """Folders of Python and its packages."""
    packages = (Path(mmengine.__file__).parents[1], Path(__file__).parents[1])
    paths = {*sysconfig.get_paths().values(), *site.getsitepackages(), *map(str, packages)}
    return tuple(f"{path}/" for path in paths if Path(path) != Path(sys.prefix))
