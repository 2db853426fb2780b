"""Checks of arguments: a mistake in a config is an error that names it."""

from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any

from ..errors import did_you_mean

Depth = int | Sequence[int] | None
PerStage = int | Sequence[int]


def refuse_unknown(network: type, unknown: Iterable[str]) -> None:
    """Raise TypeError if there are keywords that no constructor of ``network`` took.

    Args:
        network: The class that is built.
        unknown: The keywords that were left over.
    """
    for name in unknown:
        known = {name for base in network.__mro__ for name in signature(base.__init__).parameters}
        raise TypeError(
            f"{network.__name__}: got an unexpected keyword argument {name!r}."
            f"{did_you_mean(name, known)}"
        )


def require(name: str, value: object, fits: bool, allowed: str) -> None:
    """Raise ValueError unless ``value`` fits.

    Args:
        name: The argument.
        value: What was given.
        fits: Whether that is allowed.
        allowed: What is allowed, in words that follow "must be".
    """
    if not fits:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def per_stage(
    name: str, value: Any, num_stages: int, minimum: int | None = None, optional: bool = False
) -> tuple:
    """One value per stage: ``value`` for each of them if it is a single one.

    Args:
        name: The argument.
        value: What was given.
        num_stages: Length of what is returned.
        minimum: The values must be whole numbers from here; None allows any values.
        optional: Values may be None as well.

    Raises:
        ValueError: If it is a sequence of another length, or has other values.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * num_stages
    require(name, value, len(values) == num_stages, f"one value, or {num_stages} (num_stages)")
    if minimum is not None:
        numbers = [number for number in values if not (optional and number is None)]
        fits = all(isinstance(number, int) and number >= minimum for number in numbers)
        require(name, value, fits, f"a whole number from {minimum}" + ", or None" * optional)
    return values


def blocks_per_stage(depth: Any, num_stages: int) -> int | tuple[int, ...]:
    """``depth`` as it is looked up: a number, or the blocks of each stage as a tuple.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(depth, int):
        return depth
    fits = isinstance(depth, Sequence) and len(depth) == num_stages and not isinstance(depth, str)
    require("depth", depth, fits, f"a number, or {num_stages} numbers of blocks (num_stages)")
    return per_stage("depth", list(depth), num_stages, minimum=1)


def check_arguments(num_stages: int, **arguments: Any) -> None:
    """Check those arguments of the shell that are one value for the whole network.

    Args:
        num_stages: Stages of the network.
        **arguments: Values of the arguments that have a rule below.

    Raises:
        ValueError: For the first one that is not allowed.
    """
    require("num_stages", num_stages, num_stages in (1, 2, 3, 4), "1, 2, 3 or 4")
    stages = range(num_stages)
    frozen = range(-1, num_stages + 1)
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "out_indices": (
            lambda v: isinstance(v, (tuple, list)) and len(v) > 0 and all(i in stages for i in v),
            f"a tuple of stages from {list(stages)}",
        ),
        "style": (lambda v: v in ("pytorch", "caffe"), "'pytorch' or 'caffe'"),
        "frozen_stages": (
            lambda v: isinstance(v, int) and v in frozen,
            f"a whole number from -1 to {num_stages}",
        ),
        "drop_path_rate": (
            lambda v: isinstance(v, (int, float)) and 0 <= v < 1,
            "a number from 0 to below 1",
        ),
        "encoder_decoder": (lambda v: v is None or isinstance(v, dict), "a dict, or None"),
        "plugins": (lambda v: v is None or isinstance(v, (tuple, list)), "a list of dicts"),
        "init_cfg": (
            lambda v: v is None or isinstance(v, (dict, list, tuple)),
            "a dict, or a list of dicts",
        ),
    }
    for name, value in arguments.items():
        fits, allowed = rules[name]
        require(name, value, fits(value), allowed)
