"""The record of an evaluation: what it holds, typed. Tables are views of records.

Shares are in [0, 1]. N is the number of images that an attack saw, D of the draws that score. `docs/record.schema.json`
says the same for readers in other languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, cast

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict  # which pydantic needs below Python 3.12

from rnabench.report.network import Device, Network, Versions
from rnabench.report.stored import PackedBits, Stored
from rnabench.scoring.outcome import Outcome, batch_groups, path_groups
from rnabench.settings.base import judged
from rnabench.settings.protocols import parse_protocol

FORMAT: Final = 4

Share = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
Size = Annotated[float, Field(ge=0, le=1e6)]
DrawsAre = Literal["group", "batch", "sample", "-"]


def _protocol(name: str) -> str:
    return name if name == "any" else judged(parse_protocol, name)


Protocol = Annotated[str, AfterValidator(_protocol)]


class Maker(Stored):
    """What made a part of the numbers, in short."""

    git: str | None = Field(description="revision, with +changes if files differed; null outside git")
    torch: str
    device: str | None = Field(description="cpu, or the name of the GPU")


class Made(Stored):
    """How a record, or a study, came to be."""

    digest: str = Field(description="of everything that decides the results")
    settings_digest: str | None = Field(default=None, description="the same without the versions of algorithms")
    algorithms: Versions | None = Field(default=None, description="by name; null: made before they had versions")
    made: str | None = Field(default=None, description="when: UTC, ISO 8601")
    made_by: list[Maker] = Field(default=[], description="what made its batches, each once")
    versions: dict[str, str] = Field(description="of Python, this package and the libraries")
    git: str | None = Field(description="revision that wrote the file")
    device: Device

    @property
    def label(self) -> str:
        """What a line calls it."""
        raise NotImplementedError

    @property
    def networks(self) -> list[Network]:
        raise NotImplementedError


class Data(Stored):
    """The images."""

    name: str
    fingerprint: str = Field(description="of the images and labels, in order")
    classes: list[str] = Field(min_length=1)
    indices: list[int] = Field(description="which of the test images, in order")


class ThreatKept(Stored):
    norm: str = Field(description="Linf or L2")
    eps: Size = Field(description="pixels in [0, 1]")
    step_size: Size = Field(description="pixels in [0, 1]")


class EvaluationKept(Stored):
    """The settings of the evaluation; those that are not listed here too, by name."""

    model_config = ConfigDict(extra="allow")

    suite: str = ""
    seed: int
    cumulative: bool = Field(description="each attack saw only the images that no earlier one broke")
    attack_paths: int | None = Field(default=None, ge=1, description="path groups: image i is in i mod this")
    batch_size: int | None = Field(default=None, ge=1)


class ParametersKept(TypedDict, total=False):
    """Of an attack; its own besides these, by name."""

    __pydantic_config__ = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)  # type: ignore[misc]
    kind: str
    backend: str
    eps: Size
    step_size: Size
    steps: Annotated[int, Field(ge=1)]
    restarts: Annotated[int, Field(ge=1)]
    random_start: bool
    loss: str
    attack: Annotated[str, Field(description="of images made on another network")]
    surrogate: Annotated[str, Field(description="that network")]


class Outcomes(Stored):
    """What happened to every image: 1 is right."""

    correct: PackedBits = Field(description="[N, D]: right on each draw")
    majority: PackedBits = Field(description="[N]: the most frequent prediction over the draws is right")
    reported: PackedBits = Field(description="[N]: right on a path of the attacker's own")
    distances: list[float] | None = Field(default=None, description="[N]: Euclidean change, if no eps bounds it")


class KeptImages(Stored):
    """The adversarial images, from which `rnabench rescore` scores anew."""

    file: str = Field(description="where it lies from the record, with / between folders")
    sha256: str


class Result(Stored):
    """One attack under one protocol, on the first N of the record's images."""

    attack: str
    protocol: Protocol = Field(description="paper, same-path, resample, eot:K; any, where all agree")
    parameters: ParametersKept = Field(description="all in effect; none of natural accuracy")
    bounded: bool = Field(description="knows an eps")
    draws: int = Field(ge=1, description="D")
    draws_are: DrawsAre = Field(
        description="what shares a draw: a path group, a batch (of batch_dependent networks, and older), nothing; -: "
                    "nothing is drawn")
    accuracy: Share = Field(description="mean over images and draws")
    interval95: Interval
    worst_of_draws: Share = Field(description="right on every draw")
    majority: Share
    attack_reported: Share
    median_l2: float | None = Field(default=None, description="of images that had to be moved and are misclassified")
    seconds: float
    outcomes: Outcomes
    algorithms: Versions | None = None
    made_by: list[Maker] = Field(default=[])
    unreliable: bool = Field(default=False, description="a sanity check that concerns it failed")
    kept_images: KeptImages | None = Field(default=None, description="null: not kept")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        images, kept = self.outcomes.majority.shape, self.outcomes
        if len(images) != 1 or kept.reported.shape != images or kept.correct.shape != [*images, self.draws] or (
                kept.distances is not None and [len(kept.distances)] != images):
            raise ValueError("expected outcomes of the same images, on all draws")
        self._bears_out(kept)
        return self

    def _bears_out(self, kept: Outcomes) -> None:
        """A number that its own outcomes contradict is refused. Intervals are not judged: theirs may be older rules."""
        correct = kept.correct.array()
        counted = {"accuracy": correct, "worst_of_draws": correct.all(1), "majority": kept.majority.array(),
                   "attack_reported": kept.reported.array()}
        for name, bits in counted.items() if len(correct) else ():
            if abs(getattr(self, name) - float(bits.mean())) > 1e-6:
                raise ValueError(f"expected {name} {bits.mean():g}, as its outcomes say, got {getattr(self, name):g}")

    @classmethod
    def of(cls, outcome: Outcome, draws_are: DrawsAre, parameters: Mapping[str, Any], bounded: bool = True,
           algorithms: Versions | None = None, made_by: Sequence[Mapping[str, Any]] = ()) -> Self:
        """With the numbers that follow from the outcomes."""
        distances = {} if outcome.distances is None else {"distances": [round(float(d), 5) for d in outcome.distances]}
        return cls(
            attack=outcome.attack, protocol=outcome.protocol, parameters=cast("ParametersKept", dict(parameters)),
            bounded=bounded,
            draws=outcome.correct.shape[1], draws_are=draws_are, accuracy=outcome.accuracy,
            interval95=list(outcome.interval), worst_of_draws=outcome.worst, majority=float(outcome.majority.mean()),
            attack_reported=float(outcome.reported.mean()), median_l2=outcome.median_distance,
            seconds=round(outcome.seconds, 2),
            outcomes=Outcomes(correct=PackedBits.of(outcome.correct), majority=PackedBits.of(outcome.majority),
                              reported=PackedBits.of(outcome.reported), **distances),
            algorithms=algorithms, made_by=[Maker.model_validate(maker) for maker in made_by])

    @property
    def images(self) -> int:
        """N."""
        return self.outcomes.majority.shape[0]


class SanityFlag(Stored):
    """What a sanity check says."""

    check: int = Field(ge=1)
    status: Literal["PASS", "WARN", "FAIL", "n/a"]
    text: str = Field(description="with the numbers that decided")
    rows: list[Pair] = Field(default=[], description="(attack, protocol) that it concerns; none: all")
    name: str


class DiagnosisKept(Stored):
    """What was seen of the model without attacking it."""

    images: int
    zero_gradients: dict[str, Share] | Share = Field(
        description="by loss, the share of images whose gradient is zero; older: of cross-entropy")
    probabilities: bool = Field(description="the outputs are no logits")
    was_training: bool = Field(description="it came in training mode")
    changed: list[str] = Field(description="buffers that attacks changed")
    normalisation: dict[str, str] | None = Field(
        None, description="for images as given, normalised and unnormalised: 1 for each that is right")


class Sanity(Stored):
    diagnosis: DiagnosisKept
    probes: list[Result] = Field(description="attacks that only the checks look at")
    flags: list[SanityFlag] = Field(default=[])


class WorstCase(Stored):
    """The worst case over the attacks that average over paths: each image meets the one that is worst for it."""

    attacks: list[str] = Field(description="attack / protocol")
    accuracy: Share
    interval95: Interval
    worst_of_draws: Share
    majority: Share
    attack_reported: Share
    adaptive_suite: bool = Field(description="the whole suite `adaptive` is among them")


class Baseline(Stored):
    """The deterministic model's record that this one was judged beside."""

    digest: str
    label: str


class Record(Made):
    """One evaluated network: settings, where the numbers come from, every image's outcome on every draw."""

    format: Literal[4] = Field(description="version of what is described here")
    model: Network
    data: Data
    threat: ThreatKept
    evaluation: EvaluationKept
    sanity: Sanity
    results: list[Result] = Field(min_length=1)
    unreliable: bool = Field(default=False, description="a sanity check failed")
    headline: WorstCase | None = None
    baseline: Baseline | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        images = len(self.data.indices)
        for result in self.cells:
            if result.images > images:
                raise ValueError(f"expected outcomes of at most {images} images, got {result.images}")
            needed = {"group": "attack_paths", "batch": "batch_size"}.get(result.draws_are)
            if needed and getattr(self.evaluation, needed) is None:
                raise ValueError(f"expected evaluation.{needed}, as draws serve a {result.draws_are}")
        return self

    @property
    def label(self) -> str:
        return self.model.label

    @property
    def networks(self) -> list[Network]:
        return [self.model]

    @property
    def method(self) -> str:
        """What several trainings have in common: the name of their model in a recipe; of one alone, its own."""
        return self.model.method or self.model.label

    @property
    def cells(self) -> list[Result]:
        """The results, then the sanity checks' probes."""
        return [*self.results, *self.sanity.probes]

    @property
    def surrogate(self) -> str | None:
        """The network, or networks, that attacks named transfer-... were made on, if there were any."""
        return next((str(each.parameters["surrogate"]) for each in self.cells if "surrogate" in each.parameters), None)

    def outcome(self, result: Result) -> Outcome:
        """Every image's outcome of one of the cells."""
        kept, groups = result.outcomes, None
        if result.draws_are == "group":
            assert self.evaluation.attack_paths is not None
            groups = path_groups(0, result.images, self.evaluation.attack_paths)
        elif result.draws_are == "batch":  # predictions depend on batch mates, or the record is of before path groups
            assert self.evaluation.batch_size is not None
            groups = batch_groups(0, result.images, self.evaluation.batch_size)
        distances = None if kept.distances is None else np.array(kept.distances, dtype=float)
        return Outcome(result.attack, result.protocol, kept.correct.array(), kept.majority.array(),
                       kept.reported.array(), groups, result.seconds, distances)
