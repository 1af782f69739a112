"""The grammar of a space of normalisers: what `--space` takes. Knows no tensors, so that it can check input fast.

    space  := term ("+" term)*                       e.g.  bn+in    gn32+bgn32    bgn+gn[1-16]
    term   := "bn" | "in" | "ln"                     batch, instance and layer normalisation
            | "in-plain"                             IN without scale and shift, torch's nn.InstanceNorm2d
            | ("gn" | "bgn") NUMBER                  that many groups:                 gn32
            | ("gn" | "bgn") "[" SIZE "]"            groups of that many channels:     gn[4]
            | ("gn" | "bgn") "[" FROM "-" TO "]"     one normaliser per power of two:  gn[1-64] = 7 normalisers
            | "gn" | "bgn"                           the range of the next term that has one: bgn+gn[1-16]

Case does not matter. `bn` = `bgn[1]`, `in` = `gn[1]`, `ln` = `gn1`; the same layer may not stand twice in a space. A
number of groups, or a group size, above a layer's channels C is clipped to C; a group count that does not divide C is
an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rnabench.errors import InvalidValue

GRAMMAR = "bn, in, ln, in-plain, gn32 or bgn32 (groups), gn[4] or gn[1-64] (group sizes, powers of two), joined by '+'"
EXAMPLES = ("bn", "in", "ln", "in-plain", "gn32", "bgn32", "bn+in", "gn32+ln", "gn32+bgn32", "gn[1-64]", "bgn+gn[1-16]")
_TERM = re.compile(r"(?P<name>bn|in-plain|in|ln|gn|bgn)(?:(?P<groups>\d+)|\[(?P<low>\d+)(?:-(?P<high>\d+))?\])?")


@dataclass(frozen=True)
class NormSpec:
    """One normaliser before it knows its channels: `count` groups, or groups of `count` channels; `affine`: followed
    by a scale and shift per channel."""

    family: Literal["gn", "bgn"]
    by: Literal["groups", "size"]
    count: int
    affine: bool = True

    @property
    def label(self) -> str:
        short = next((name for name, spec in _SINGLE.items() if spec == self), None)
        return short or (f"{self.family}{self.count}" if self.by == "groups" else f"{self.family}[{self.count}]")

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


_SINGLE = {
    "bn": NormSpec("bgn", "size", 1),
    "in": NormSpec("gn", "size", 1),
    "ln": NormSpec("gn", "groups", 1),
    "in-plain": NormSpec("gn", "size", 1, affine=False),
}


@dataclass(frozen=True)
class Space:
    """An ordered set of normalisers; option k of every choice layer is `norms[k]`."""

    norms: tuple[NormSpec, ...]

    def __str__(self) -> str:
        return "+".join(norm.label for norm in self.norms)


def parse_space(text: str) -> Space:
    """The space that `text` spells. Raises InvalidValue for a malformed term, a repeated layer or an empty space."""
    terms = text.lower().replace(" ", "").split("+")
    matches = []
    for term in terms:
        match = _TERM.fullmatch(term)
        if match is None or (match["name"] in _SINGLE and term != match["name"]):
            raise InvalidValue("space", text, f"{GRAMMAR} ({term!r} is none of them)", EXAMPLES)
        matches.append(match)
    norms: list[NormSpec] = []
    for match in matches:
        if match["name"] in _SINGLE:
            norms.append(_SINGLE[match["name"]])
            continue
        family: Literal["gn", "bgn"] = "bgn" if match["name"] == "bgn" else "gn"
        sizes = match if match["low"] else matches[-1]  # a bare name takes the range at the end
        if match["groups"]:
            norms.append(NormSpec(family, "groups", _positive(text, match["groups"])))
        elif sizes["low"]:
            norms += [NormSpec(family, "size", size) for size in _sizes(text, sizes["low"], sizes["high"])]
        else:
            raise InvalidValue("space", text, f"a count or range for {family!r}, as in {family}32 or {family}[1-16]",
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
