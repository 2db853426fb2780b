"""Checks of arguments: a mistake in a config is an error that names it."""

from collections.abc import Sequence


def check(name: str, value: object, fits: bool, allowed: str) -> None:
    """Raise unless ``value`` fits.

    Args:
        name: The argument.
        value: What was given.
        fits: Whether that is allowed.
        allowed: What is, in words that follow "must be".

    Raises:
        ValueError: If it does not fit.
    """
    if not fits:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_number(name: str, value: object, least: int) -> None:
    """Raise ValueError unless ``value`` is an integer from ``least``."""
    check(name, value, isinstance(value, int) and value >= least, f"a whole number from {least}")


def per_stage(name: str, value: object, num_stages: int, least: int | None = None) -> tuple:
    """One value a stage: ``value`` for each if it is a single one.

    Args:
        name: The argument.
        value: What was given.
        num_stages: Length of what is returned.
        least: The values must be integers from here; None allows any.

    Raises:
        ValueError: If it is a sequence of another length, or has other values.
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * num_stages
    check(name, value, len(values) == num_stages, f"one value, or {num_stages} (num_stages)")
    if least is not None:
        fits = all(isinstance(number, int) and number >= least for number in values)
        check(name, value, fits, f"a whole number from {least}")
    return values


def depth_per_stage(depth: object, num_stages: int) -> int | tuple[int, ...]:
    """``depth`` as it is looked up: a number, or the blocks of each stage as a tuple.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(depth, int):
        return depth
    fits = isinstance(depth, Sequence) and len(depth) == num_stages and not isinstance(depth, str)
    check("depth", depth, fits, f"a number, or {num_stages} numbers of blocks (num_stages)")
    return per_stage("depth", list(depth), num_stages, least=1)
