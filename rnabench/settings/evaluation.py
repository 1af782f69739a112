"""What an evaluation is asked to do: threat model, attacks, protocols, scoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from rnabench.errors import InvalidValue
from rnabench.settings.attacks import AttackSpec, parse_entry, with_steps
from rnabench.settings.base import (
    BATCH_SIZE,
    Capture,
    Draws,
    Granularity,
    Indices,
    NExamples,
    Norm,
    Part,
    Precision,
    Seed,
    judged,
    setting,
)
from rnabench.settings.corruptions import parse_corruption
from rnabench.settings.pixels import EPS, STEP_SIZE, ThreatSize
from rnabench.settings.protocols import Protocol, parse_protocol
from rnabench.settings.suites import SUITES, Suite, suites


class SuiteEntry(NamedTuple):
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

    `norm`, `eps` and `step_size` are the threat model: pixel units for Linf, Euclidean length for L2. A draw of a path,
    the attacker's or a scoring one, serves a group of images, as it serves a batch in the paper, and there are
    `attack_paths` groups (granularity `batch`), or it serves a single image (`sample`). `batch_size` says how many
    images are worked on at once and nothing else; but where a network's predictions depend on batch mates, it says of
    which batches they are: these stay whole, and a draw serves a batch, whatever `attack_paths` is.
    """

    norm: Norm = "Linf"
    eps: Annotated[ThreatSize, EPS] = 8 / 255
    step_size: Annotated[ThreatSize | None, STEP_SIZE] = None
    suites: dict[Annotated[str, Field(pattern=r"^[a-z][\w-]{0,39}$")], OwnSuite] = setting(
        {}, "A recipe's own suites, by name.", "Attack")
    suite: str = setting("quick", "Which attacks under which protocols; several joined by +, as in paper+adaptive (see "
                         "--list).", "Attack")
    attacks: tuple[str | dict[str, Any], ...] | None = setting(
        None, "Attacks instead of the suite's, comma-separated: fgsm,pgd20,apgd-ce (see --list).", "Attack",
        min_length=1)
    protocols: tuple[str, ...] | None = setting(
        None, "Protocols instead of the suite's, comma-separated: paper, same-path, resample, eot:K (see --list).",
        "Attack", min_length=1)
    steps: int | None = setting(
        None, "Steps of every attack that has steps, in its name too: mifgsm becomes mifgsm7. Refused where two "
        "attacks become one (as in sweeps of steps).", "Attack", "each attack's own", strict=True, ge=1, le=10000)
    backend: Literal["native", "torchattacks"] = setting(
        "native", "torchattacks: the paper's own calls, for cross-checks.", "Attack")
    n_examples: NExamples = None
    n_examples_of: dict[str, Annotated[int, Field(strict=True, ge=1)]] = setting(
        {}, "On how many of the first images to run what is slow, by the name of an attack, a protocol, or an `attack "
        "/ protocol`; the least that applies counts.", "Data")
    indices: Indices = None
    corruption: str | None = setting(
        None, "Corrupt the test images first: a common corruption and a severity from 1 to 5, as in gaussian-noise:3 "
        "(small images).", "Data", "none")
    draws: Draws = 20
    granularity: Granularity = setting("batch", "One draw per group of images, of which there are --attack-paths, or "
                                       "one per sample.", "Attack")
    attack_paths: int = setting(16, "Groups of images that share their draws of paths (granularity batch), as batches "
                                "do in the paper: so many frozen paths are attacked (one per batch "
                              "where predictions depend on batch mates).", "Attack", strict=True, ge=1,
                                le=1_000_000)
    batch_size: int = setting(128, BATCH_SIZE, "Run", strict=True, ge=1, le=65536)
    precision: Precision = "fp32"
    capture: Capture = False
    cumulative: StrictBool = setting(False, "Drop images that are broken already from later bounded attacks "
                                     "(deterministic models).", "Attack")
    sanity: StrictBool = setting(True, "Run what the sanity checks need on some of the images.", "Attack")
    sanity_examples: int = setting(64, "Images for these.", "Attack", strict=True, ge=2, le=100_000)
    keep_images: StrictBool = setting(False, "Keep the adversarial images beside the record, for `rnabench rescore`: 4 "
                                      "bytes a number, 1 where all of an image are multiples of 1/255.", "Run",
                                      exclude=True)  # by itself it decides no outcome
    seed: Seed = 0

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

    @field_validator("corruption")
    @classmethod
    def _corruption(cls, value: str | None) -> str | None:
        return value and judged(parse_corruption, value)

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
            for spec in map(parse_entry, info.data.get("attacks") or suite.attacks):
                if (other := before.setdefault(with_steps(spec, value).name, spec.name)) != spec.name:
                    raise ValueError(f"expected none, as it makes {other} and {spec.name} one attack")
        return value

    @field_validator("cumulative")
    @classmethod
    def _all_images(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("n_examples_of"):
            raise ValueError("expected all attacks on the same images with it, no n_examples_of")
        return value

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

    def entries(self) -> list[SuiteEntry]:
        """What is run, in order, each combination once. Raises InvalidValue for two attacks of one name, and for an
        attack that its protocol cannot have."""
        entries: dict[tuple[str, str], SuiteEntry] = {}
        named: dict[str, AttackSpec] = {}
        for name, suite in self.chosen:
            for attack in self.attacks_of(suite):
                if named.setdefault(attack.name, attack) != attack:
                    raise InvalidValue("attack", attack.name, "one attack of that name; give the other another `name`")
                for protocol in self.protocols or suite.protocols:
                    self.check_protocol(attack, parse_protocol(protocol))
                    entries.setdefault((attack.name, protocol), SuiteEntry(attack, protocol, name))
        names = {part for attack, protocol in entries for part in (attack, protocol, f"{attack} / {protocol}")}
        for name in self.n_examples_of:
            if name not in names and not _is_known(name):
                raise InvalidValue("n_examples_of", name, "the name of an attack, a protocol, or `attack / protocol`",
                                   names)
        return list(entries.values())

    def check_protocol(self, attack: AttackSpec, protocol: Protocol) -> None:
        """Raises InvalidValue where a library's attack, which averages over draws by itself, is to average something
        else than losses; and for images made on another network that are to be predicted on the attacked path."""
        library = attack.parameters.library or self.backend.replace("native", "")
        if protocol.average != "losses" and library:
            raise InvalidValue("protocol", protocol.name, f"eot:{protocol.samples} for {attack.name}: {library} "
                                                          "averages by itself, and losses only")
        if attack.transferred and protocol.same_path:
            raise InvalidValue("protocol", protocol.name, f"another one for {attack.name}: what is attacked is another "
                                                          "network's path")
        if attack.transferred and library:
            raise InvalidValue("backend", library, f"native for {attack.name}")

    def attacks_of(self, suite: Suite) -> list[AttackSpec]:
        """What is run of a suite: its own attacks or those that replace them."""
        specs = [parse_entry(described) for described in self.attacks or suite.attacks]
        return specs if self.steps is None else [with_steps(spec, self.steps) for spec in specs]


def _is_known(name: str) -> bool:
    """Whether a name is an attack's or a protocol's: settings that recipes share may name what one of them lacks."""
    attack, both, protocol = name.partition(" / ")

    def parses(parse: Callable[[str], object], text: str) -> bool:
        with suppress(InvalidValue):
            return parse(text) is not None
        return False

    if both:
        return parses(parse_entry, attack) and parses(parse_protocol, protocol)
    return parses(parse_entry, name) or parses(parse_protocol, name)


def _built(own: Mapping[str, OwnSuite]) -> dict[str, Suite]:
    return {name: Suite(suite.summary, suite.attacks, suite.protocols, suite.axis) for name, suite in own.items()}


def _judged_attacks(values: tuple[Any, ...]) -> tuple[Any, ...]:
    names = []
    for value in values:
        try:
            names.append(parse_entry(value).name)
        except InvalidValue as error:
            raise ValueError(f"expected {error.expected} (for {error.value!r}){error.hint}") from None
    if len(set(names)) < len(names):
        raise ValueError(f"expected attacks with different names, not {', '.join(names)}; give each a `name`")
    return values
