"""Checks of arguments: a mistake in a config is an error that names it."""

from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any

from ..errors import did_you_mean

Depth = int | Sequence[int] | None
PerStage = int | Sequence[int]


def require(name: str, value: object, fits: object, allowed: str) -> None:
    """Raise ValueError unless ``value`` fits.

    Args:
        name: The argument.
        value: What was given.
        fits: Whether that is allowed.
        allowed: What is allowed, in words that follow "must be".
    """
    if not fits:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def refuse_unknown(network: type, names: Iterable[str]) -> None:
    """Raise TypeError for the first of ``names`` that no constructor of ``network`` takes."""
    known = {name for base in network.__mro__ for name in signature(base.__init__).parameters}
    for name in names:
        if name not in known:
            raise TypeError(
                f"{network.__name__}: got an unexpected keyword argument {name!r}."
                f"{did_you_mean(name, known)}"
            )


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
