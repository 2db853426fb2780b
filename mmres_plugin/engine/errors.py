"""Errors that are the user's to mend, and the words that help: what, where, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something in the command, the config or the files is not as it must be.

    Args:
        problems: One text per problem; all of them are shown, not only the first.
        headline: The line above them; none if empty.
    """

    def __init__(self, problems: Iterable[str], headline: str = "Nothing was started:") -> None:
        self.problems = list(problems)
        if headline:
            bullets = ["  - " + problem.replace("\n", "\n    ") for problem in self.problems]
            super().__init__("\n".join([headline, *bullets]))
        else:
            super().__init__("\n".join(self.problems))


class UnreadableImage(RuntimeError):
    """An image of the data set cannot be decoded; the message names the file."""


def close_name(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``name`` is probably a slip of, or None.

    A slip is a letter or two, or letters in another order. ``val_interval`` and ``interval``, or
    ``conv_cfg`` and ``env_cfg``, are different words and must not be taken for one another.
    """
    candidates = [other for other in known if abs(len(other) - len(name)) <= 2]
    swapped = [other for other in candidates if sorted(other) == sorted(name)]
    return next(iter(swapped or get_close_matches(name, candidates, n=1, cutoff=0.85)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``' Did you mean …?'`` for the closest of ``known``, or an empty string."""
    close = close_name(name, known)
    return f" Did you mean '{close}'?" if close else ""
