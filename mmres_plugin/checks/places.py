"""Find the place in a config that caused an error."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, ValLoop
from torch import nn

from ..config_parts import look_up, scope_of, typed_parts
from ..errors import UnreadableImage, UserError, place_of_code, reason_of

# The keys of the config that the runner's methods read.
KEYS = {
    "set_randomness": "randomness",
    "setup_env": "env_cfg",
    "build_log_processor": "log_processor",
    "register_default_hooks": "default_hooks",
    "register_custom_hooks": "custom_hooks",
    "build_optim_wrapper": "optim_wrapper",
    "scale_lr": "auto_scale_lr",
    "build_param_scheduler": "param_scheduler",
    "build_evaluator": "{loop}_evaluator",
    "build_dataloader": "{loop}_dataloader",
    "build_val_loop": "val_cfg",
    "build_train_loop": "train_cfg",
}
# What helps, by words of the place or the error.
HINTS = {
    "model.data_preprocessor": " (The pipeline gives this; does it end with PackInputs?)",
    "subfolders": " Write their names in alphabetical order: metainfo=dict(classes=[…])",
}
LONGEST = 300  # characters of an error that are shown


@contextmanager
def locating_errors(cfg: Config, loop: str = "", model: nn.Module | None = None) -> Iterator[None]:
    """Turn any error into a :class:`UserError` that names the place in the config that caused it.

    Args:
        cfg: The config.
        loop: ``'train'`` or ``'val'``; if empty, what was running when the error was raised.
        model: The model, for the names of its parts.
    """
    try:
        yield
    except UserError:
        raise
    except UnreadableImage as error:
        raise UserError([str(error)]) from error
    except Exception as error:
        place = place_of(error, cfg, loop, model)
        reason = f"{type(error).__name__}: {' '.join(reason_of(error).split())}"[:LONGEST]
        reason += "".join(hint for text, hint in HINTS.items() if text in f"{place} {reason}")
        raise UserError([f"{place}: {reason}\n{place_of_code(error)}"]) from error


def place_of(error: Exception, cfg: Config, loop: str, model: nn.Module | None) -> str:
    """The place in the config of the innermost part that was running when ``error`` was raised."""
    frames = [
        (frame.f_locals.get("self"), frame.f_code.co_name)
        for one in (error, error.__context__)  # hooks and registries raise what they caught again
        for frame, _ in traceback.walk_tb(one and one.__traceback__)
    ]
    loop = loop or ("val" if any(isinstance(part, ValLoop) for part, _ in frames) else "train")
    scope = cfg.get("default_scope")
    places = {
        look_up(node.get("type"), where, scope_of(node, scope)): place
        for place, node, where in typed_parts(cfg, (loop,))
        if isinstance(node, dict)
    }
    modules = model.named_modules() if model is not None else ()
    names = {id(part): f"model.{name}" for name, part in modules if name}
    for part, function in reversed(frames):
        if id(part) in names:
            return names[id(part)]
        if type(part) in places:
            return places[type(part)]
        if type(part).__module__.startswith("torch.utils.data"):
            return f"{loop}_dataloader"
        if isinstance(part, OptimWrapper):
            return "optim_wrapper"
        if isinstance(part, BaseLoop):
            return f"{loop}_cfg"
        if function in KEYS:
            return KEYS[function].format(loop=loop)
    return "the config"
