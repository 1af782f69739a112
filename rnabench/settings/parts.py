"""What a network has in the places of its ReLUs, what filters its feature maps, and which random defence it has:
`--activation`, `--denoise` and `--defence`.

    parts := part ("+" part)*             e.g.  silu    relu+silu    none+gaussian
    part  := NAME                         a kind:                            silu, gaussian
           | NAME NUMBER                  with a number of its own:          softplus10, celu2
           | NAME ENDING                  without a part of its block:       gaussian-no-1x1 (denoisers alone)

Several make a choice layer at every place, whose options are in that order. Case does not matter; the same part may not
stand twice. A defence is a single part. The names are what is registered in ACTIVATIONS, DENOISERS and DEFENCE_KINDS.
Nothing here knows tensors, but the first question to one of these imports what registers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rnabench.errors import InvalidValue
from rnabench.settings.registry import Registry
from rnabench.settings.spaces import NAME, Number, written

Build = TypeVar("Build", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kind:
    """`build` makes the module; `number` is what it takes behind its name, if anything. `options`, of a defence, says
    of that number how many options a layer of it chooses from."""

    build: Callable[..., Any]
    number: Number | None = None
    options: Callable[..., int] = lambda *number: 1


ACTIVATIONS: Registry[Kind] = Registry("activation", "rnabench.model", "rnabench.activations")
DENOISERS: Registry[Kind] = Registry("denoiser", "rnabench.model", "rnabench.denoisers")
DEFENCE_KINDS: Registry[Kind] = Registry("defence", "rnabench.model.defences", "rnabench.trainable_defences")

RELU = "relu"  # the activation of every architecture as it is built
NONE = "none"  # no denoising block, no defence
ENDINGS = "-no-1x1", "-no-residual", "-no-bn"  # what a denoising block leaves out
SEEDS = 2**31  # options of a layer that chooses a seed
PARTS = {  # the settings, and what is not worth a word
    "activation": RELU, "denoise": NONE, "denoise_at": "stages", "defence": NONE}


def activation(name: str, number: Number | None = None) -> Callable[[Build], Build]:
    """Decorates what builds an activation, in a file of `rnabench.model` or of another package: of its number, if it
    takes one, it makes a module that maps tensors of any shape to ones of that shape."""
    def register(build: Build) -> Build:
        ACTIVATIONS.add(name, Kind(build, number), build)
        return build
    return register


def denoiser(name: str) -> Callable[[Build], Build]:
    """Decorates what builds a denoising operation, in a file of `rnabench.model` or of another package: (channels,
    pooled) -> a module that maps maps [N, channels, H, W] to such maps. `pooled`: it stands behind every block, where
    non-local operations look at maps of half the resolution."""
    def register(build: Build) -> Build:
        DENOISERS.add(name, Kind(build), build)
        return build
    return register


def defence(name: str, number: Number | None = None, options: Callable[..., int] = lambda *number: SEEDS
            ) -> Callable[[Build], Build]:
    """Decorates what builds a defence, in a file of `rnabench.model.defences` or of another package: (the network as
    an `Undefended`, its number if it takes one) -> the defended network. `options` of that number is how many options
    its layers choose from: those of a seed, unless said."""
    def register(build: Build) -> Build:
        DEFENCE_KINDS.add(name, Kind(build, number, options), build)
        return build
    return register


@dataclass(frozen=True)
class Part:
    """One kind, with its number or its ending; `label` is how it is spelled."""

    kind: str
    number: float | None = None
    default: float | None = None
    ending: str = ""

    @property
    def label(self) -> str:
        number = "" if self.number is None or self.number == self.default else written(self.number)
        return f"{self.kind}{number}{self.ending}"

    @property
    def numbers(self) -> tuple[float, ...]:
        """What it is built from."""
        return () if self.number is None else (self.number,)


def activations(text: str) -> tuple[Part, ...]:
    """The activations that `text` spells. Raises InvalidValue for an unknown name, a number that it cannot take, and
    one that stands twice."""
    return _parse("activation", text, ACTIVATIONS)


def denoisers(text: str) -> tuple[Part, ...]:
    """The same for denoisers, among which `none` may stand."""
    return _parse("denoise", text, DENOISERS, (NONE,), ENDINGS)


def defences(text: str) -> tuple[Part, ...]:
    """The defence that `text` spells, alone; nothing for `none`. Raises InvalidValue as above, and for several."""
    parts = _parse("defence", text, DEFENCE_KINDS, (NONE,), several=False)
    if len(parts) > 1:
        raise InvalidValue("defence", text, f"one defence, such as {parts[-1].label}")
    return () if parts[0].kind == NONE else parts


def options_of_defence(text: str) -> int:
    """How many options a layer of this defence chooses from; 1 for `none`."""
    return max([DEFENCE_KINDS[part.kind].options(*part.numbers) for part in defences(text)], default=1)


def spelled(parts: Iterable[Part]) -> str:
    """Their standard spelling."""
    return "+".join(part.label for part in parts)


def unusual_parts(described: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the PARTS by name that a network has otherwise than usual, from what describes it."""
    return {name: described[name] for name, usual in PARTS.items() if described.get(name) not in (None, usual)}


def with_parts(network: str, described: Mapping[str, Any]) -> str:
    """A network in words, and its unusual parts: `resnet18 width 64, activation silu`."""
    parts = [f"{name.replace('_', ' ')} {value}" for name, value in unusual_parts(described).items()]
    return ", ".join([network, *parts])


def _parse(field: str, text: str, kinds: Registry[Kind], nothing: tuple[str, ...] = (), endings: tuple[str, ...] = (),
           several: bool = True) -> tuple[Part, ...]:
    terms = text.lower().replace(" ", "").split("+")
    parts: list[Part] = []
    for place, term in enumerate(terms):
        part = Part(term) if term in nothing else _part(term, kinds, endings)
        if part is None:
            numbers = {name: kind.number for name, kind in kinds.items() if kind.number}
            digits = term.lstrip("-abcdefghijklmnopqrstuvwxyz")
            names = [*nothing, *kinds, *(f"{name}{digits}" for name in numbers),
                     *(f"{name}{ending}" for name in kinds for ending in endings)]
            expected = f"{_grammar(kinds, nothing, endings, several)} ({term!r} is none of them)"
            raise InvalidValue(field, text, expected, ["+".join([*terms[:place], name, *terms[place + 1:]])
                                                       for name in names])
        number = kinds[part.kind].number if part.numbers else None
        if number and not number.takes(part.numbers[0]):
            raise InvalidValue(field, text, f"a number behind {part.kind!r} ({number}), as in {part.kind}"
                               f"{written(number.default)}", [part.kind])
        if part in parts:
            raise InvalidValue(field, text, f"each once ({part.label!r} stands twice)")
        parts.append(part)
    return tuple(parts)


def _part(term: str, kinds: Registry[Kind], endings: tuple[str, ...]) -> Part | None:
    """The part that a term spells; None if there is no such kind, or none with a number."""
    ending = next((each for each in endings if term.endswith(each)), "")
    match = re.fullmatch(rf"({NAME})(\d+(?:\.\d+)?)?", term.removesuffix(ending))
    if match is None or match[1] not in kinds:
        return None
    name, digits = match.groups()
    default = number.default if (number := kinds[name].number) else None
    if digits and default is None:
        return None
    return Part(name, float(digits) if digits else default, default, ending)


def _grammar(kinds: Registry[Kind], nothing: tuple[str, ...], endings: tuple[str, ...], several: bool) -> str:
    """What may stand there, in one line."""
    numbers: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if kind.number:
            numbers.setdefault(str(kind.number), []).append(f"{name}{written(kind.number.default)}")
    numbered = "".join(f", {' or '.join(names)} ({number})" for number, names in numbers.items())
    behind = f", these with {', '.join(endings)} behind" if endings else ""
    joined = ", joined by '+'" if several else ""
    return f"{', '.join([*nothing, *kinds])}{numbered}{behind}{joined}"
