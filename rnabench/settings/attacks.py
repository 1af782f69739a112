"""Attacks as data: what there is, its parameters, and the names that stand for them. Knows no tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnabench.errors import InvalidValue, did_you_mean, one_of
from rnabench.settings.base import expectation
from rnabench.settings.pixels import Length, in_255ths, length, pixel_units
from rnabench.settings.suites import SUITES

LossName = Literal["ce", "margin", "dlr"]


class Parameters(BaseModel):
    """What an attack is set to. `bounded`: it stays within eps; the others look for the smallest change. `version` is
    raised when the attack's numbers change by what it does itself (streams and estimators have their own)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: ClassVar[int] = 1
    bounded: ClassVar[bool] = True
    random_start: ClassVar[bool] = False
    summary: ClassVar[str] = ""

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        """About how many passes with a gradient, and how many without, an example costs per path draw."""
        raise NotImplementedError


class FGSM(Parameters):
    summary: ClassVar[str] = "one step of size eps (Goodfellow et al. 2015)"

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return 1, 0


class _Steps(Parameters):
    steps: int = Field(10, strict=True, ge=1, le=100_000)
    step_size: Length | None = None

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.steps, 0


class BIM(_Steps):
    summary: ClassVar[str] = "PGD from the image itself (Kurakin et al. 2017)"


class PGD(_Steps):
    random_start: ClassVar[bool] = True
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "projected gradient descent from random starts (Madry et al. 2018)"
    steps: int = Field(20, strict=True, ge=1, le=100_000)
    loss: LossName = "ce"
    restarts: int = Field(1, strict=True, ge=1, le=1000)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.steps * self.restarts, self.restarts if self.restarts > 1 else 0


class MIFGSM(_Steps):
    summary: ClassVar[str] = "BIM with momentum (Dong et al. 2018)"
    steps: int = Field(5, strict=True, ge=1, le=100_000)
    decay: float = Field(1.0, ge=0, le=100)


class APGD(Parameters):
    random_start: ClassVar[bool] = True
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "PGD with momentum and its own step size (Croce and Hein 2020); loss t: targeted DLR"
    steps: int = Field(100, strict=True, ge=1, le=100_000)
    loss: Literal["ce", "margin", "dlr", "t"] = "ce"
    restarts: int = Field(1, strict=True, ge=1, le=1000)
    targets: int = Field(9, strict=True, ge=1, le=10_000)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        runs = self.restarts * (min(self.targets, classes - 1) if self.loss == "t" else 1)
        return (self.steps + 1) * runs, 0


class Square(Parameters):
    random_start: ClassVar[bool] = True
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "black-box random search (Andriushchenko et al. 2020)"
    queries: int = Field(5000, strict=True, ge=1, le=1_000_000)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return 0, self.queries * (2 if is_random else 1) + 1


class CarliniWagner(Parameters):
    bounded: ClassVar[bool] = False
    summary: ClassVar[str] = "smallest L2 change, by Adam (Carlini and Wagner 2017)"
    steps: int = Field(1000, strict=True, ge=1, le=100_000)
    c: float = Field(1e-4, gt=0, le=1e10)
    kappa: float = Field(0.0, ge=0, le=1e6)
    lr: float = Field(0.01, gt=0, le=10)
    searches: int = Field(0, strict=True, ge=0, le=100)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        return self.steps * (1 + self.searches), 10


class DeepFool(Parameters):
    bounded: ClassVar[bool] = False
    summary: ClassVar[str] = "nearest linearised boundary (Moosavi-Dezfooli et al. 2016)"
    steps: int = Field(50, strict=True, ge=1, le=100_000)
    overshoot: float = Field(0.02, ge=0, le=10)
    candidates: int = Field(10, strict=True, ge=1, le=10_000)

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        usual = min(self.steps, 5)  # most examples are through after a few steps
        return usual * classes, 2 * usual


class AutoAttack(Parameters):
    random_start: ClassVar[bool] = True
    version: ClassVar[int] = 2
    summary: ClassVar[str] = ("the ensemble of Croce and Hein 2020, by pyautoattack: `standard` on a frozen path or a "
                              "deterministic model, `rand` under eot:K")

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        targets = min(9, classes - 1)
        return (202, 10) if is_random else (101 + targets * 101 + targets * 300, 5000)


KINDS: dict[str, type[Parameters]] = {
    "fgsm": FGSM, "bim": BIM, "pgd": PGD, "mifgsm": MIFGSM, "apgd": APGD, "square": Square, "cw": CarliniWagner,
    "deepfool": DeepFool, "autoattack": AutoAttack,
}
_NAME = re.compile("(?P<kind>" + "|".join(KINDS) + r")(?P<number>\d{1,6})?(?:-(?P<loss>[a-z]+))?"
                   r"(?:x(?P<restarts>\d{1,4}))?(?:@(?P<eps>[\d./]+))?")
GRAMMAR = "kind[steps][-loss][xrestarts][@eps], as in pgd20, pgd20-margin, pgd20x5, apgd-t, square500 or pgd20@4/255"


@dataclass(frozen=True)
class AttackSpec:
    """An attack before it meets a model; `eps` (pixel units) replaces the evaluation's where given."""

    name: str
    kind: str
    parameters: Parameters
    eps: float | None = None

    @property
    def bounded(self) -> bool:
        return self.parameters.bounded


def parse_attack(described: str | Mapping[str, Any]) -> AttackSpec:
    """An attack from a name (see GRAMMAR) or from a mapping with `kind`, parameters, and a `name` of one's own.

    A name is a claim: one of one's own that reads as an attack of the catalogue describes just that attack. Raises
    InvalidValue.
    """
    if isinstance(described, str):
        return _from_name(described)
    values = dict(described)
    kind, eps = values.pop("kind", None), values.pop("eps", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidValue("attack", str(described), f"a kind: {one_of(KINDS)}", KINDS)
    try:
        bound = None if eps is None else length(eps)
    except ValueError as error:
        raise InvalidValue("attack", f"eps: {eps}", str(error).removeprefix("expected ")) from None
    name = str(values.pop("name", kind))
    if not re.fullmatch(r"[\w.+@/-]{1,40}", name) or name == "natural" or name.startswith("sanity/"):
        raise InvalidValue("attack", name, "a name of letters, digits and . + @ / - (not natural, not sanity/...)")
    spec = AttackSpec(name, kind, _parameters(name, kind, values), bound)
    _check_claim(spec)
    return spec


def _check_claim(spec: AttackSpec) -> None:
    """Refuse a name that reads as another attack, or as a suite: `cw20` for a PGD, `pgd40-slow` for one of 10 steps."""
    read = spec.name.lower()
    letters = re.sub(r"[^a-z0-9]", "", read)  # mi-fgsm reads as mifgsm
    reads_as = next((kind for kind in KINDS if letters.startswith(kind)), spec.kind)
    if reads_as != spec.kind:
        raise InvalidValue("attack", spec.name, f"another `name`: it reads as {reads_as}, and this is {spec.kind}")
    if read in SUITES and read not in KINDS:
        raise InvalidValue("attack", spec.name, "another `name`: it is a suite's")
    number = re.match(rf"{'[-_]?'.join(spec.kind)}[-_]?(\d+)", read)  # mi-fgsm-10 reads as mifgsm10
    claimed: dict[str, Any] = {_numbered(spec.kind): int(number[1])} if number else {}
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


def _numbered(kind: str) -> str:
    """The parameter that the number in a name is."""
    return "queries" if kind == "square" else "steps"


def _from_name(name: str) -> AttackSpec:
    match = _NAME.fullmatch(name)
    kind = match["kind"] if match else None
    if match is None or kind not in KINDS or (kind in ("pgd", "bim") and not match["number"]):
        known = [*(kind for kind in KINDS if kind not in ("pgd", "bim", "apgd")), "bim10", "pgd10", "pgd20",
                 "pgd20-margin", "apgd-ce", "apgd-dlr", "apgd-t"]
        raise InvalidValue("attack", name, GRAMMAR, known)
    values: dict[str, Any] = {}
    if match["number"]:
        values[_numbered(kind)] = int(match["number"])
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
    fields = KINDS[kind].model_fields
    for key in values:
        if key not in fields:
            said = f"parameters of {kind}: {', '.join(fields) or 'none'}"
            raise InvalidValue("attack", f"{name} ({key})", said + did_you_mean(key, list(fields)))
    try:
        return KINDS[kind].model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidValue("attack", f"{name} ({where}: {first['input']})", expectation(first)) from None


def resolved(spec: AttackSpec, eps: float, step_size: float) -> dict[str, Any]:
    """Every parameter in effect, as the record keeps it; `eps` and `step_size` are the evaluation's."""
    values: dict[str, Any] = {"kind": spec.kind, **spec.parameters.model_dump(mode="json")}
    if not spec.bounded:
        return values
    values["eps"] = eps if spec.eps is None else spec.eps
    if isinstance(spec.parameters, _Steps) and values["step_size"] is None:
        usual = step_size == eps / 4 or eps == 0  # a step size of the evaluation's own grows with eps
        values["step_size"] = step_size if spec.eps is None else values["eps"] * (0.25 if usual else step_size / eps)
    if isinstance(spec.parameters, FGSM):
        values["step_size"] = values["eps"]
    if isinstance(spec.parameters, APGD) and spec.parameters.loss != "t":
        del values["targets"]
    return values | {"random_start": spec.parameters.random_start}


def at_eps(spec: AttackSpec, eps: float) -> AttackSpec:
    """The attack at another eps: pgd20@16/255."""
    return replace(spec, name=f"{spec.name}@{in_255ths(eps)}", eps=eps)


def with_steps(spec: AttackSpec, steps: int) -> AttackSpec:
    """The attack with so many steps, in its name too: mifgsm7. An attack without steps stays as it is, and so does a
    name that does not begin with the attack's kind."""
    if "steps" not in type(spec.parameters).model_fields:
        return spec
    name = re.sub(rf"(?i)^({spec.kind})\d*", rf"\g<1>{steps}", spec.name)
    return replace(spec, name=name, parameters=spec.parameters.model_copy(update={"steps": steps}))
