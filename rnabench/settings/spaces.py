"""The grammar of a space of normalisers: what `--space` takes.

    space  := term ("+" term)*                       e.g.  bn+in    gn32+bgn32    bgn+gn[1-16]
    term   := NAME                                   a normaliser:                     bn, in, ln, in-plain, robust
            | FAMILY NUMBER                          that many groups:                 gn32
            | FAMILY "[" SIZE "]"                    groups of that many channels:     gn[4]
            | FAMILY "[" FROM "-" TO "]"             one normaliser per power of two:  gn[1-64] = 7 normalisers
            | FAMILY                                 the range of the next term that has one: bgn+gn[1-16]

The names, and which of them are families of several groupings (`gn`, `bgn`), are what is registered in NORMS: their
classes say so. Nothing here knows tensors, but the first question to NORMS imports those classes.

Case does not matter. `bn` = `bgn[1]`, `in` = `gn[1]`, `ln` = `gn1`; the same layer may not stand twice in a space. A
number of groups, or a group size, above a layer's channels C is clipped to C; a group count that does not divide C is
an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.settings.registry import Registry

By = Literal["groups", "size"]
Spellings = tuple[tuple[str, By, int], ...]
"""(name, by, count) each: a name of its own for so many groups, or for groups of so many channels."""


class NormKind(Protocol):
    """What is asked of a normaliser's class here; `rnabench.norm.layers.Norm` says what each is."""

    summary: str
    takes_groups: bool
    spellings: Spellings
    family: str | None

    def __call__(self, channels: int, groups: int) -> Any: ...


NORMS: Registry[NormKind] = Registry("normaliser", "rnabench.norm", "rnabench.norms")

EXAMPLES = ("bn", "in", "ln", "in-plain", "gn32", "bgn32", "bn+in", "gn32+ln", "gn32+bgn32", "gn[1-64]", "bgn+gn[1-16]")
_NAME = "[a-z]+(?:-[a-z]+)*"
_TERM = re.compile(rf"(?P<name>{_NAME})(?:(?P<groups>\d+)|\[(?P<low>\d+)(?:-(?P<high>\d+))?\])?")


@dataclass(frozen=True)
class NormSpec:
    """One normaliser before it knows its channels: its registered name, and `count` groups or groups of `count`
    channels."""

    name: str
    by: By
    count: int

    @property
    def label(self) -> str:
        short = next((spelling for spelling, spec in _fixed().items() if spec == self), None)
        return short or (f"{self.name}{self.count}" if self.by == "groups" else f"{self.name}[{self.count}]")

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
    """The spellings that take no number. Raises RnabenchError for one that is ambiguous."""
    fixed: dict[str, NormSpec] = {}
    for name, kind in NORMS.items():
        alone: Spellings = () if kind.takes_groups else ((name, "size", 1),)
        for spelling, by, count in kind.spellings or alone:
            if spelling in fixed or (spelling != name and spelling in NORMS) or not re.fullmatch(_NAME, spelling):
                raise RnabenchError(f"normaliser: {name!r} is spelled {spelling!r}; expected lower-case words joined "
                                    "by '-' that no other normaliser has")
            fixed[spelling] = NormSpec(name, by, count)
    return fixed


def grammar() -> str:
    """What a space may be, in one line."""
    families = [name for name, kind in NORMS.items() if kind.takes_groups]
    return (f"{', '.join(_fixed())}, {' or '.join(f'{name}32' for name in families)} (groups), "
            f"{' or '.join(f'{name}[4]' for name in families)} or gn[1-64] (group sizes, powers of two), joined by '+'")


@dataclass(frozen=True)
class Space:
    """An ordered set of normalisers; option k of every choice layer is `norms[k]`."""

    norms: tuple[NormSpec, ...]

    def __str__(self) -> str:
        return "+".join(norm.label for norm in self.norms)


def parse_space(text: str) -> Space:
    """The space that `text` spells. Raises InvalidValue for a malformed term, a repeated layer or an empty space."""
    terms = text.lower().replace(" ", "").split("+")
    fixed, families = _fixed(), {name for name, kind in NORMS.items() if kind.takes_groups}
    matches = [_TERM.fullmatch(term) for term in terms]
    norms: list[NormSpec] = []
    for term, match in zip(terms, matches, strict=True):
        if term in fixed:
            norms.append(fixed[term])
            continue
        if match is None or match["name"] not in families:
            raise InvalidValue("space", text, f"{grammar()} ({term!r} is none of them)", (*EXAMPLES, *fixed))
        name, sizes = match["name"], match if match["low"] else matches[-1]  # a bare name takes the range at the end
        if match["groups"]:
            norms.append(NormSpec(name, "groups", _positive(text, match["groups"])))
        elif sizes and sizes["low"]:
            norms += [NormSpec(name, "size", size) for size in _sizes(text, sizes["low"], sizes["high"])]
        else:
            raise InvalidValue("space", text, f"a count or range for {name!r}, as in {name}32 or {name}[1-16]",
                               EXAMPLES)
    for position, norm in enumerate(norms):
        if norm in norms[:position]:
            raise InvalidValue("space", text, f"each normaliser once ({norm.label!r} stands twice)")
    return Space(tuple(norms))


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
