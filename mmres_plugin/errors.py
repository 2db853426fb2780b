"""Errors that the user can fix: their messages say what is wrong, where, and what to do."""

import signal
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

EXAMPLES = 5  # names shown of a long list


class UserError(ValueError):
    """Something in the command, the config or the files is wrong.

    Args:
        problems: The problem, or a text for each; all are shown, not only the first.
        headline: A line above them; the problems alone if there is none.
    """

    def __init__(self, problems: str | Iterable[str], headline: str = "") -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        lines = self.problems
        if headline:
            lines = [headline, *("  - " + text.replace("\n", "\n    ") for text in self.problems)]
        super().__init__("\n".join(lines))


class Interrupted(BaseException):
    """Ctrl-C or the system ended the run; the message says what was kept.

    Args:
        number: The number of the signal.
        when: What to say of the moment.
    """

    def __init__(self, number: int, when: str = ".") -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}{when}")
        self.exit_code = 128 + number  # as shells count


class UnreadableImage(RuntimeError):
    """An image of the data set cannot be decoded; the message names the file."""


@contextmanager
def user_error(what: str, hint: str = "") -> Iterator[None]:
    """Turn the errors of files and values into a :class:`UserError`.

    Args:
        what: What was wrong, as the user named it (``--resume``, ``checkpoint`` …).
        hint: What to do, added to the message.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{what}: {error}{hint}") from error


@contextmanager
def collecting(problems: list[str]) -> Iterator[None]:
    """Add the problems of a :class:`UserError` to the list and go on."""
    try:
        yield
    except UserError as error:
        problems += error.problems


def reason_of(error: Exception) -> str:
    """What an error says, or its type if it says nothing."""
    # The text of a KeyError is the representation of what it was given.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return str(text) or type(error).__name__


def place_of_code(error: Exception) -> str:
    """Where in the code an error was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"(raised in {last.filename}, line {last.lineno})"


def close_name(name: str, known: Iterable[str]) -> str | None:
    """The name in ``known`` that ``name`` is probably a misspelling of, or None.

    A slip is a letter or two, or letters in another order. ``val_interval`` and ``interval``, or
    ``conv_cfg`` and ``env_cfg``, are different words and must not be taken for one another.
    """
    candidates = [other for other in known if abs(len(other) - len(name)) <= 2]
    swapped = [other for other in candidates if sorted(other) == sorted(name)]
    return next(iter(swapped or get_close_matches(name, candidates, n=1, cutoff=0.85)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``' Did you mean …?'`` for the closest of ``known``, or an empty string."""
    close = close_name(name, [other for other in known if other != name])
    return f" Did you mean '{close}'?" if close else ""


def shortened(names: Sequence[object], most: int = EXAMPLES) -> str:
    """The first of ``names`` for a message, with an ellipsis if some are left out."""
    return ", ".join([*map(str, names[:most]), *(["…"] if len(names) > most else [])])
