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
    """Raise ValueError unless ``value`` is an integer, or a sequence of them, from ``least``."""
    numbers = value if isinstance(value, (tuple, list)) else [value]
    fits = all(isinstance(number, int) and number >= least for number in numbers)
    check(name, value, fits, f"a whole number from {least}")


def per_stage(name: str, value: object, num_stages: int) -> tuple:
    """One value a stage: ``value`` for each if it is a single one.

    Raises:
        ValueError: If it is a sequence of another length.
    """
    if not isinstance(value, (tuple, list)):
        return (value,) * num_stages
    check(name, value, len(value) == num_stages, f"one value, or {num_stages} (num_stages)")
    return tuple(value)


def depth_per_stage(depth: object, num_stages: int) -> int | tuple[int, ...]:
    """``depth`` as it is looked up: a number, or the blocks of each stage as a tuple.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(depth, int):
        return depth
    fits = isinstance(depth, Sequence) and len(depth) == num_stages and not isinstance(depth, str)
    check("depth", depth, fits, f"a number, or {num_stages} numbers of blocks (num_stages)")
    check_number("depth", depth, 1)
    return tuple(depth)
