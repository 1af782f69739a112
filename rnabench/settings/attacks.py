"""Attacks as data: what each declares of itself, and the names that stand for them. Knows no tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rnabench.errors import InvalidValue, RnabenchError, did_you_mean, one_of
from rnabench.settings.base import expectation
from rnabench.settings.pixels import in_255ths, length, pixel_units
from rnabench.settings.registry import Registry
from rnabench.settings.suites import SUITES

LossName = Literal["ce", "margin", "dlr"]


@dataclass(frozen=True)
class CrossCheck:
    """A case of `rnabench crosscheck`: an attack beside its counterpart in `library`. `settings` are what its name does
    not say, `images` how many at most (of slow ones)."""

    name: str
    library: Literal["torchattacks", "pyautoattack"]
    images: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Parameters(BaseModel):
    """What an attack is set to, its fields, and what it declares of itself; `rnabench.attack.attack.Attack` runs.

    Fields of these names mean the same in every attack: `steps`, `restarts`, `loss` (names set them, as in
    pgd20-marginx5) and `step_size` (None: the evaluation's).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    version: ClassVar[int] = 1  # raised when its numbers change by what it does itself; streams, estimators have theirs
    norms: ClassVar[tuple[str, ...]] = ("Linf", "L2")
    library: ClassVar[str] = ""  # the package that runs it; none: this one
    bounded: ClassVar[bool] = True  # stays within eps; the others look for the smallest change
    random_start: ClassVar[bool] = False
    numbered: ClassVar[str] = "steps"  # the field that a number in a name sets: pgd20
    needs_number: ClassVar[bool] = False  # no name without one: of `pgd` alone nobody knows the steps
    names: ClassVar[tuple[str, ...]] = ()  # what a wrong name may have meant; none: the bare name
    crosschecks: ClassVar[tuple[CrossCheck, ...]] = ()

    @property
    def strength(self) -> float | None:
        """A stronger attack leaves no more accuracy (sanity check 1); None if nothing is known of it. On the scale are
        1 (FGSM), 2 + steps (PGD with cross-entropy, one start) and infinity (AutoAttack)."""
        return None

    @property
    def losses(self) -> frozenset[str]:
        """The losses, ce, margin or dlr, whose gradients it follows; none of a black-box attack."""
        loss = str(getattr(self, "loss", "ce"))
        return frozenset({"dlr" if loss == "t" else loss})

    @property
    def least_classes(self) -> int:
        """How many classes its loss needs."""
        return {"dlr": 3, "t": 4}.get(str(getattr(self, "loss", "ce")), 2)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        """About how many passes with a gradient, and how many without, an example costs per path draw."""
        return getattr(self, self.numbered, 1) * getattr(self, "restarts", 1), 0

    def passes_of(self, samples: int, classes: int) -> tuple[float, float]:
        """The same of all draws: of `samples` per step, or of one frozen path (0)."""
        gradients, forwards = self.passes(samples > 0, classes)
        return max(1, samples) * gradients, max(1, samples) * forwards

    def largest_side(self, side: int) -> int:
        """The height, in pixels, of the largest images that it shows the network of images of this one."""
        return side

    def in_effect(self, eps: float) -> dict[str, Any]:
        """Every parameter, as the record keeps it."""
        return self.model_dump(mode="json") | ({"eps": eps} if self.bounded else {})

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        """The class of torchattacks that does the same, and its arguments, if any; `samples` > 0: under EOT."""
        return None

    def pyautoattack(self) -> tuple[str, dict[str, Any]] | None:
        """The part of pyautoattack's AutoAttack that does the same, and what to set of it; None: the whole."""
        return None


class AttackRegistry(Registry[type[Parameters]]):
    def add(self, name: str, thing: type[Parameters], declared: object = None) -> None:
        """Raises RnabenchError also for a name that makes others ambiguous: beside pgd2, pgd20 would be two things."""
        if not re.fullmatch(r"[a-z][a-z0-9]*[a-z]", name) or name in ("natural", "transfer"):
            raise RnabenchError(f"attack: {name!r} cannot be registered; expected lower-case letters, and digits "
                                "between them (not natural, not transfer)")
        super().add(name, thing, declared)


ATTACKS = AttackRegistry("attack", "rnabench.attack", "rnabench.attacks")
TRANSFER = "transfer-"
GRAMMAR = "kind[steps][-loss][xrestarts][@eps], as in pgd20, pgd20-margin, pgd20x5, apgd-t, square500 or pgd20@4/255"


@dataclass(frozen=True)
class AttackSpec:
    """An attack before it meets a model; `eps` (pixel units) replaces the evaluation's where given. `transferred`: it
    is made on another network, and its name begins with `transfer-`."""

    name: str
    kind: str
    parameters: Parameters
    eps: float | None = None
    transferred: bool = False

    @property
    def bounded(self) -> bool:
        return self.parameters.bounded

    def settled(self, eps: float, step_size: float) -> tuple[Parameters, float]:
        """Its parameters and its eps, with the evaluation's `eps` and `step_size` where it has none of its own."""
        own, parameters = eps if self.eps is None else self.eps, self.parameters
        if getattr(parameters, "step_size", 0.0) is None:
            usual = step_size == eps / 4 or eps == 0  # a step size of the evaluation's own grows with eps
            scaled = step_size if self.eps is None else own * (0.25 if usual else step_size / eps)
            parameters = parameters.model_copy(update={"step_size": scaled})
        return parameters, own


def parse_entry(described: str | Mapping[str, Any]) -> AttackSpec:
    """The attack of a table's entry: as `parse_attack`, or the name of one of our bounded attacks behind `transfer-`,
    whose images are made on another network. Raises InvalidValue."""
    if not (isinstance(described, str) and described.startswith(TRANSFER)):
        return parse_attack(described)
    spec = parse_attack(described.removeprefix(TRANSFER))
    if spec.parameters.library or not spec.bounded:
        raise InvalidValue("attack", described, f"a bounded attack of our own behind {TRANSFER}, as in transfer-pgd20")
    return replace(spec, name=described, transferred=True)


def at_home(spec: AttackSpec) -> AttackSpec:
    """What a transferred attack is on the network that its images are made on."""
    return replace(spec, name=spec.name.removeprefix(TRANSFER), transferred=False)


def parse_attack(described: str | Mapping[str, Any]) -> AttackSpec:
    """An attack from a name (see GRAMMAR) or from a mapping with `kind`, parameters, and a `name` of one's own.

    A name is a claim: one of one's own that reads as a registered attack describes just that attack. Raises
    InvalidValue.
    """
    if isinstance(described, str):
        return _from_name(described)
    values = dict(described)
    kind, eps = values.pop("kind", None), values.pop("eps", None)
    if not isinstance(kind, str) or kind not in ATTACKS:
        raise InvalidValue("attack", str(described), f"a kind: {one_of(ATTACKS)}", ATTACKS)
    try:
        bound = None if eps is None else length(eps)
    except ValueError as error:
        raise InvalidValue("attack", f"eps: {eps}", str(error).removeprefix("expected ")) from None
    name = str(values.pop("name", kind))
    if not re.fullmatch(r"[\w.+@/-]{1,40}", name) or name == "natural" or name.startswith(("sanity/", TRANSFER)):
        raise InvalidValue("attack", name, "a name of letters, digits and . + @ / - (not natural, not sanity/..., not "
                                           "transfer-...)")
    spec = AttackSpec(name, kind, _parameters(name, kind, values), bound)
    _check_claim(spec)
    return spec


def _check_claim(spec: AttackSpec) -> None:
    """Refuse a name that reads as another attack, or as a suite: `cw20` for a PGD, `pgd40-slow` for one of 10 steps."""
    read = spec.name.lower()
    letters = re.sub(r"[^a-z0-9]", "", read)  # mi-fgsm reads as mifgsm
    reads_as = next((kind for kind in _kinds() if letters.startswith(kind)), spec.kind)
    if reads_as != spec.kind:
        raise InvalidValue("attack", spec.name, f"another `name`: it reads as {reads_as}, and this is {spec.kind}")
    if read in SUITES and read not in ATTACKS:
        raise InvalidValue("attack", spec.name, "another `name`: it is a suite's")
    number = re.match(rf"{'[-_]?'.join(spec.kind)}[-_]?(\d+)", read)  # mi-fgsm-10 reads as mifgsm10
    claimed: dict[str, Any] = {spec.parameters.numbered: int(number[1])} if number else {}
    with suppress(InvalidValue):
        claimed = _settings(_from_name(read))
    settings = _settings(spec)
    if wrong := [f"{key} {_shown(settings[key])} and not {_shown(value)}" for key, value in claimed.items()
                 if key in settings and settings[key] != value]:
        raise InvalidValue("attack", spec.name, f"another `name`: this {spec.kind} has {', '.join(wrong)}")


def _settings(spec: AttackSpec) -> dict[str, Any]:
    return {**spec.parameters.model_dump(), "eps": spec.eps}


def _shown(value: object) -> str:
    return "the evaluation's" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _kinds() -> list[str]:
    """Longer ones first, so that none is taken for the beginning of another."""
    return sorted(ATTACKS, key=len, reverse=True)


def _from_name(name: str) -> AttackSpec:
    kinds = "|".join(map(re.escape, _kinds()))
    match = re.fullmatch(rf"({kinds})(?P<number>\d{{1,6}})?(?:-(?P<loss>[a-z]+))?"
                         r"(?:x(?P<restarts>\d{1,4}))?(?:@(?P<eps>[\d./]+))?", name)
    attack = ATTACKS[match[1]] if match else None
    if match is None or attack is None or (attack.needs_number and not match["number"]):
        known = [name for kind, attack in ATTACKS.items() for name in attack.names or (kind,)]
        raise InvalidValue("attack", name, GRAMMAR, known)
    kind = match[1]
    values: dict[str, Any] = {}
    if match["number"]:
        values[attack.numbered] = int(match["number"])
    if match["loss"]:
        values["loss"] = match["loss"]
    if match["restarts"]:
        values["restarts"] = int(match["restarts"])
    try:
        eps = pixel_units(match["eps"]) if match["eps"] else None
    except ValueError as error:
        raise InvalidValue("attack", name, f"after @ {str(error).removeprefix('expected ')}") from None
    return AttackSpec(name, kind, _parameters(name, kind, values), eps)


def _parameters(name: str, kind: str, values: Mapping[str, Any]) -> Parameters:
    fields = ATTACKS[kind].model_fields
    for key in values:
        if key not in fields:
            said = f"parameters of {kind}: {', '.join(fields) or 'none'}"
            raise InvalidValue("attack", f"{name} ({key})", said + did_you_mean(key, list(fields)))
    try:
        return ATTACKS[kind].model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidValue("attack", f"{name} ({where}: {first['input']})", expectation(first)) from None


def resolved(spec: AttackSpec, eps: float, step_size: float) -> dict[str, Any]:
    """Every parameter in effect, as the record keeps it; `eps` and `step_size` are the evaluation's."""
    parameters, own_eps = spec.settled(eps, step_size)
    start = {"random_start": spec.parameters.random_start} if spec.bounded else {}
    return {"kind": spec.kind, **parameters.in_effect(own_eps), **start}


def recorded(parameters: Mapping[str, Any]) -> Parameters | None:
    """The inverse, of a record's parameters; None for what is no attack, or one of a package that is not installed."""
    kind = parameters.get("kind")
    if kind not in ATTACKS:
        return None
    attack = ATTACKS[str(kind)]
    return attack.model_construct(**{name: parameters[name] for name in attack.model_fields if name in parameters})


def at_eps(spec: AttackSpec, eps: float) -> AttackSpec:
    """The attack at another eps: pgd20@16/255."""
    return replace(spec, name=f"{spec.name}@{in_255ths(eps)}", eps=eps)


def with_steps(spec: AttackSpec, steps: int) -> AttackSpec:
    """The attack with so many steps, in its name too: mifgsm7. An attack without steps stays as it is, and so does a
    name that does not begin with the attack's kind."""
    if "steps" not in type(spec.parameters).model_fields:
        return spec
    name = re.sub(rf"(?i)^((?:{TRANSFER})?{spec.kind})\d*", rf"\g<1>{steps}", spec.name)
    return replace(spec, name=name, parameters=spec.parameters.model_copy(update={"steps": steps}))
