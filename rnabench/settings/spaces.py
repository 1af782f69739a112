"""The grammar of a space of normalisers: what `--space` takes.

    space  := term ("+" term)*                       e.g.  bn+in    gn32+bgn32    bgn+gn[1-16]
    term   := NAME                                   a normaliser:                     bn, in, ln, none, robust
            | NAME NUMBER                            with a number of its own:         robust0.05
            | FAMILY NUMBER                          that many groups:                 gn32
            | FAMILY "[" SIZE "]"                    groups of that many channels:     gn[4]
            | FAMILY "[" FROM "-" TO "]"             one normaliser per power of two:  gn[1-64] = 7 normalisers
            | FAMILY                                 the range of the next term that has one: bgn+gn[1-16]

The names, which of them are families of several groupings (`gn`, `bgn`), and which take a number of their own, are what
is registered in NORMS: their classes say so. Nothing here knows tensors, but the first question to NORMS imports those
classes.

Case does not matter. `bn` = `bgn[1]`, `in` = `gn[1]`, `ln` = `gn1`, `robust` = `robust0.2`; the same layer may not
stand twice in a space. A number of groups, or a group size, above a layer's channels C is clipped to C; a group count
that does not divide C is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, Protocol

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.settings.registry import Registry

By = Literal["groups", "size"]
Spellings = tuple[tuple[str, By, int], ...]
"""(name, by, count) each: a name of its own for so many groups, or for groups of so many channels."""


@dataclass(frozen=True)
class Number:
    """A number that a normaliser, or another part of a network, takes behind its name: what it `means`, what stands for
    itself, and the largest; all are above 0, and some are `whole`."""

    means: str
    default: float
    most: float
    whole: bool = False

    def takes(self, number: float) -> bool:
        return 0 < number <= self.most and (number % 1 == 0 or not self.whole)

    def __str__(self) -> str:
        return f"{self.means}, {'whole, ' if self.whole else ''}above 0 and at most {self.most:g}"


class NormKind(Protocol):
    """What is asked of a normaliser's class here; `rnabench.norm.layers.Norm` says what each is."""

    summary: str
    takes_groups: bool
    takes_number: Number | None
    spellings: Spellings
    family: str | None

    def __call__(self, channels: int, groups: int, *number: float) -> Any: ...


NORMS: Registry[NormKind] = Registry("normaliser", "rnabench.norm", "rnabench.norms")

EXAMPLES = ("bn", "in", "ln", "in-plain", "gn32", "bgn32", "bn+in", "gn32+ln", "gn32+bgn32", "gn[1-64]", "bgn+gn[1-16]")
NAME = "[a-z]+(?:-[a-z]+)*"
_TERM = re.compile(rf"(?P<name>{NAME})(?:(?P<number>\d+(?:\.\d+)?)|\[(?P<low>\d+)(?:-(?P<high>\d+))?\])?")


@dataclass(frozen=True)
class NormSpec:
    """One normaliser before it knows its channels: its registered name, `count` groups or groups of `count` channels,
    and the `number` of its own, if it takes one."""

    name: str
    by: By
    count: int
    number: float | None = None

    @property
    def label(self) -> str:
        short = next((spelling for spelling, spec in _fixed().items() if spec == self), None)
        if short is None and self.number is not None:
            return f"{self.name}{written(self.number)}"
        return short or (f"{self.name}{self.count}" if self.by == "groups" else f"{self.name}[{self.count}]")

    @property
    def numbers(self) -> tuple[float, ...]:
        """What its class is built from behind channels and groups."""
        return () if self.number is None else (self.number,)

    def groups(self, channels: int, layer: str = "a layer") -> int:
        """The number of groups in a layer of `channels`. Raises InvalidValue if they do not divide it."""
        count = min(self.count, channels)
        if channels % count:
            unit = "groups" if self.by == "groups" else "channels per group"
            raise InvalidValue("space", self.label, f"{unit} that divide the {channels} channels of {layer}")
        return count if self.by == "groups" else channels // count

    def clipped(self, channels: int) -> bool:
        """Whether the count had to be cut down to `channels`."""
        return self.count > channels


def _fixed() -> dict[str, NormSpec]:
    """The spellings that need no number. Raises RnabenchError for one that is ambiguous."""
    fixed: dict[str, NormSpec] = {}
    for name, kind in NORMS.items():
        if kind.takes_number and (kind.takes_groups or kind.spellings):
            raise RnabenchError(f"normaliser: {name!r} takes a number and has groupings or other spellings; expected a "
                                "name with one meaning")
        alone: Spellings = () if kind.takes_groups else ((name, "size", 1),)
        for spelling, by, count in kind.spellings or alone:
            if spelling in fixed or (spelling != name and spelling in NORMS) or not re.fullmatch(NAME, spelling):
                raise RnabenchError(f"normaliser: {name!r} is spelled {spelling!r}; expected lower-case words joined "
                                    "by '-' that no other normaliser has")
            fixed[spelling] = NormSpec(name, by, count, kind.takes_number.default if kind.takes_number else None)
    return fixed


def written(number: float) -> str:
    """Digits that read as just this number, as in 0.05 and 1."""
    return f"{Decimal(repr(number)).normalize():f}"


def grammar() -> str:
    """What a space may be, in one line."""
    families = [name for name, kind in NORMS.items() if kind.takes_groups]
    numbers: dict[Number, list[str]] = {}
    for name, number in _numbers().items():
        numbers.setdefault(number, []).append(f"{name}{written(number.default)}")
    numbered = "".join(f"{' or '.join(names)} ({number}), " for number, names in numbers.items())
    return (f"{', '.join(_fixed())}, {' or '.join(f'{name}32' for name in families)} (groups), "
            f"{' or '.join(f'{name}[4]' for name in families)} or gn[1-64] (group sizes, powers of two), "
            f"{numbered}joined by '+'")


def _numbers() -> dict[str, Number]:
    """The number that a normaliser takes, by the name of each that takes one."""
    return {name: kind.takes_number for name, kind in NORMS.items() if kind.takes_number}


@dataclass(frozen=True)
class Space:
    """An ordered set of normalisers; option k of every choice layer is `norms[k]`."""

    norms: tuple[NormSpec, ...]

    def __str__(self) -> str:
        return "+".join(norm.label for norm in self.norms)


def parse_space(text: str) -> Space:
    """The space that `text` spells. Raises InvalidValue for a malformed term, a repeated layer or an empty space."""
    terms = text.lower().replace(" ", "").split("+")
    fixed, families, numbers = _fixed(), {name for name, kind in NORMS.items() if kind.takes_groups}, _numbers()
    matches = [_TERM.fullmatch(term) for term in terms]
    norms: list[NormSpec] = []
    for term, match in zip(terms, matches, strict=True):
        if term in fixed:
            norms.append(fixed[term])
            continue
        if match and match["number"] and match["name"] in numbers:
            norms.append(_with_number(text, fixed[match["name"]], numbers[match["name"]], match["number"]))
            continue
        if match is None or match["name"] not in families or "." in (match["number"] or ""):
            numbered = [f"{name}{match['number']}" for name in numbers] if match and match["number"] else []
            raise InvalidValue("space", text, f"{grammar()} ({term!r} is none of them)",
                               (*EXAMPLES, *fixed, *numbered))
        name, sizes = match["name"], match if match["low"] else matches[-1]  # a bare name takes the range at the end
        if match["number"]:
            norms.append(NormSpec(name, "groups", _positive(text, match["number"])))
        elif sizes and sizes["low"]:
            norms += [NormSpec(name, "size", size) for size in _sizes(text, sizes["low"], sizes["high"])]
        else:
            raise InvalidValue("space", text, f"a count or range for {name!r}, as in {name}32 or {name}[1-16]",
                               EXAMPLES)
    for position, norm in enumerate(norms):
        if norm in norms[:position]:
            raise InvalidValue("space", text, f"each normaliser once ({norm.label!r} stands twice)")
    return Space(tuple(norms))


def _with_number(text: str, norm: NormSpec, number: Number, digits: str) -> NormSpec:
    if not number.takes(float(digits)):
        raise InvalidValue("space", text, f"a number behind {norm.name!r} ({number}), as in {norm.name}"
                           f"{written(number.default)}", [norm.label])
    return replace(norm, number=float(digits))


def _positive(text: str, number: str) -> int:
    if int(number) < 1:
        raise InvalidValue("space", text, "group counts and sizes of at least 1")
    return int(number)


def _sizes(text: str, first: str, last: str | None) -> list[int]:
    low, high = _positive(text, first), _positive(text, last or first)
    if low == high:
        return [low]
    if low > high or low & (low - 1) or high & (high - 1):
        raise InvalidValue("space", text, "a range of group sizes between two powers of two, such as [1-64]")
    return [2**k for k in range(low.bit_length() - 1, high.bit_length())]
