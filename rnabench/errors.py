"""Errors that a user can cause, each told in one line: what, its value, what was expected, the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import lru_cache

LONGEST_SHOWN = 200  # characters of a value in a line
MOST_LINES, MOST_NAMES = 40, 100  # of an error, and in one of its lines


class RnabenchError(Exception):
    """Base of every error shown to a user. The command line prints it as one line and exits with code 2."""


class InvalidValue(RnabenchError):
    """An option or key has a value that cannot be used.

    `field` is the option or key as the user wrote it, `expected` a phrase, `candidates` the valid names, of which
    the nearest to `value` is suggested. No value (None) is said to be missing.
    """

    def __init__(self, field: str, value: object, expected: str, candidates: Iterable[str] = ()) -> None:
        self.field, self.value, self.expected = field, value, expected
        self.hint = did_you_mean(value, candidates)
        super().__init__(f"{field}: {not_valid(value)}; expected {expected}{self.hint}")


class InvalidSettings(RnabenchError):
    """One or more keys of a recipe cannot be used; the message has one line for each of them."""


class DataUnavailable(RnabenchError):
    """A data set is missing, empty or malformed."""


class CheckpointError(RnabenchError):
    """A run folder or weight file is missing, damaged, foreign, or belongs to another network."""


class NumericalError(RnabenchError):
    """Images outside [0, 1], or logits or a loss that are not finite: any number made from them would be wrong."""


class Busy(RnabenchError):
    """Another process does this piece of work at this moment."""


class OfOneRank(RnabenchError):
    """What only one of several processes that work together can tell: it does, although it is not the first."""


class ModelError(RnabenchError):
    """A user's own model cannot be imported or does not map images to logits."""


def not_valid(value: object) -> str:
    """`'x' is not valid`, or `missing` where there is no value; of a long one only the beginning."""
    if value is None:
        return "missing"
    shown = repr(value)
    return f"{shown if len(shown) <= LONGEST_SHOWN else f'{shown[:LONGEST_SHOWN - 3]}...'} is not valid"


def did_you_mean(value: object, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the candidate nearest to `value`, or an empty string."""
    name = "" if value is None else str(value).lower()
    return _nearest(name, tuple(map(str, candidates))) if 0 < len(name) <= LONGEST_SHOWN else ""


@lru_cache(10_000)
def _nearest(name: str, candidates: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def one_of(names: Iterable[str]) -> str:
    """`one of a, b, c`: the phrase for a closed set of names."""
    told = list(map(str, names))
    return "one of " + ", ".join([*told[:MOST_NAMES], *(["..."] if len(told) > MOST_NAMES else [])])


def unknown(name: object, known: Iterable[str]) -> str:
    """The end of a line about a name that is none of those that are known."""
    known = list(known)
    return f"{not_valid(name)}; expected {one_of(known)}{did_you_mean(name, known)}"


def all_at_once(lines: Sequence[str], between: str = "\n") -> str:
    """The lines of one error, each once and on one line; of very many the first."""
    told = list(dict.fromkeys(" ".join(line.splitlines()) for line in lines))
    more = ["... and more"] if len(told) > MOST_LINES else []
    return between.join([*told[:MOST_LINES], *more])
