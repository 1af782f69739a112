"""What an evaluation is asked to do: threat model, attacks, protocols, scoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue
from rnabench.settings.attacks import AttackSpec, parse_attack, with_steps
from rnabench.settings.base import Granularity, Part, Precision, chosen_indices, judged
from rnabench.settings.pixels import Length, pixel_units
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.suites import SUITES, Suite, suites


class Planned(NamedTuple):
    """One attack under one protocol, and the suite that asks for it."""

    attack: AttackSpec
    protocol: str
    suite: str


class OwnSuite(Part):
    """A suite that a recipe brings along."""

    summary: str = "from the recipe"
    attacks: tuple[str | dict[str, Any], ...] = Field(min_length=1)
    protocols: tuple[str, ...] = Field(min_length=1)
    axis: Literal["steps", "eps", "samples"] | None = None

    @field_validator("attacks")
    @classmethod
    def _attacks(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return _judged_attacks(values)

    @field_validator("protocols")
    @classmethod
    def _protocols(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(judged(parse_protocol, value) for value in values)


class EvaluationSettings(Part):
    """How networks are attacked and scored.

    `suite` joins names by +; `attacks` and `protocols` replace the suite's own; `steps` those of every attack that has
    steps, in its name too, if different attacks stay different. `suites` are the recipe's own, by name. `n_examples_of`
    says on how many of the first images to run what is slow, by the name of an attack, a protocol, or an
    `attack / protocol`; the least that applies counts. `norm`, `eps` and `step_size` are the threat model: pixel units
    for Linf, Euclidean length for L2. `draws` fresh paths score every image. A draw of a path, the attacker's or a
    scoring one, serves a group of images, as it serves a batch in the paper, and there are `attack_paths` groups
    (granularity `batch`), or it serves a single image (`sample`). `batch_size` says how many images are worked on at
    once and nothing else. `cumulative` leaves out images that are broken already; `sanity_examples` images serve what
    the sanity checks need besides.
    """

    norm: Literal["Linf", "L2"] = "Linf"
    eps: Length = 8 / 255
    step_size: Length | None = None
    suites: dict[Annotated[str, Field(pattern=r"^[a-z][\w-]{0,39}$")], OwnSuite] = Field({})
    suite: str = "quick"
    attacks: tuple[str | dict[str, Any], ...] | None = Field(None, min_length=1)
    protocols: tuple[str, ...] | None = Field(None, min_length=1)
    steps: int | None = Field(None, strict=True, ge=1, le=10000)
    backend: Literal["native", "torchattacks"] = "native"
    n_examples: int | None = Field(None, strict=True, ge=1)
    n_examples_of: dict[str, Annotated[int, Field(strict=True, ge=1)]] = Field({})
    indices: str | None = None
    draws: int = Field(20, strict=True, ge=1, le=1000)
    granularity: Granularity = "batch"
    attack_paths: int = Field(16, strict=True, ge=1, le=1_000_000)
    batch_size: int = Field(128, strict=True, ge=1, le=65536)
    precision: Precision = "fp32"
    cumulative: StrictBool = False
    sanity: StrictBool = True
    sanity_examples: int = Field(64, strict=True, ge=2, le=100_000)
    seed: int = Field(0, strict=True, ge=0, lt=2**31)

    @field_validator("suites")
    @classmethod
    def _suites(cls, values: dict[str, OwnSuite]) -> dict[str, OwnSuite]:
        for name, suite in _built(values).items():
            if name in SUITES and not suite.same(SUITES[name]):
                raise ValueError(f"expected another name than {name!r}: the built-in suite of that name is another")
        return values

    @field_validator("attacks")
    @classmethod
    def _attacks(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return values and _judged_attacks(values)

    @field_validator("protocols")
    @classmethod
    def _protocols(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return values and tuple(judged(parse_protocol, value) for value in values)

    @field_validator("steps")
    @classmethod
    def _steps(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is None or not {"suite", "suites"} <= info.data.keys():
            return value
        before: dict[str, str] = {}
        for _, suite in suites(info.data["suite"], _built(info.data["suites"])):
            for spec in map(parse_attack, info.data.get("attacks") or suite.attacks):
                if (other := before.setdefault(with_steps(spec, value).name, spec.name)) != spec.name:
                    raise ValueError(f"expected none, as it makes {other} and {spec.name} one attack")
        return value

    @field_validator("indices")
    @classmethod
    def _indices(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            chosen_indices(value)
            if info.data.get("n_examples") is not None:
                raise ValueError("expected n_examples or indices, not both")
        return value

    @field_validator("cumulative")
    @classmethod
    def _all_images(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("n_examples_of"):
            raise ValueError("expected all attacks on the same images with it, no n_examples_of")
        return value

    @field_validator("eps", "step_size")
    @classmethod
    def _size(cls, value: float | None, info: ValidationInfo) -> float | None:
        return pixel_units(value) if value is not None and info.data.get("norm") == "Linf" else value

    @field_validator("suite")
    @classmethod
    def _suite(cls, value: str, info: ValidationInfo) -> str:
        try:
            suites(value, _built(info.data.get("suites", {})))
        except InvalidValue as error:
            raise ValueError(f"expected {error.expected}{error.hint}") from None
        return value


    @property
    def step(self) -> float:
        """The step size: eps / 4 unless given, which is the paper's 2/255 at its eps of 8/255."""
        return self.eps / 4 if self.step_size is None else self.step_size

    def limit(self, attack: str, protocol: str) -> int | None:
        """On how many of the first images an attack is run under a protocol; None: on all of them."""
        return min((self.n_examples_of[name] for name in (attack, protocol, f"{attack} / {protocol}")
                    if name in self.n_examples_of), default=None)

    @property
    def chosen(self) -> list[tuple[str, Suite]]:
        """The suites by name."""
        return suites(self.suite, _built(self.suites))

    def plan(self) -> list[Planned]:
        """What is run, in order, each combination once. Raises InvalidValue for two attacks of one name."""
        found: dict[tuple[str, str], Planned] = {}
        named: dict[str, AttackSpec] = {}
        for name, suite in self.chosen:
            for attack in self.attacks_of(suite):
                if named.setdefault(attack.name, attack) != attack:
                    raise InvalidValue("attack", attack.name, "one attack of that name; give the other another `name`")
                for protocol in self.protocols or suite.protocols:
                    found.setdefault((attack.name, protocol), Planned(attack, protocol, name))
        planned = {part for attack, protocol in found for part in (attack, protocol, f"{attack} / {protocol}")}
        for name in self.n_examples_of:
            if name not in planned and not _is_known(name):
                raise InvalidValue("n_examples_of", name, "the name of an attack, a protocol, or `attack / protocol`",
                                   planned)
        return list(found.values())

    def attacks_of(self, suite: Suite) -> list[AttackSpec]:
        """What is run of a suite: its own attacks or those that replace them."""
        specs = [parse_attack(described) for described in self.attacks or suite.attacks]
        return specs if self.steps is None else [with_steps(spec, self.steps) for spec in specs]


def _is_known(name: str) -> bool:
    """Whether a name is an attack's or a protocol's: settings that recipes share may name what one of them lacks."""
    attack, both, protocol = name.partition(" / ")

    def parses(parse: Callable[[str], object], text: str) -> bool:
        with suppress(InvalidValue):
            return parse(text) is not None
        return False

    if both:
        return parses(parse_attack, attack) and parses(parse_protocol, protocol)
    return parses(parse_attack, name) or parses(parse_protocol, name)


def _built(own: Mapping[str, OwnSuite]) -> dict[str, Suite]:
    return {name: Suite(suite.summary, suite.attacks, suite.protocols, suite.axis) for name, suite in own.items()}


def _judged_attacks(values: tuple[Any, ...]) -> tuple[Any, ...]:
    names = []
    for value in values:
        try:
            names.append(parse_attack(value).name)
        except InvalidValue as error:
            raise ValueError(f"expected {error.expected} (for {error.value!r}){error.hint}") from None
    if len(set(names)) < len(names):
        raise ValueError(f"expected attacks with different names, not {', '.join(names)}; give each a `name`")
    return values
