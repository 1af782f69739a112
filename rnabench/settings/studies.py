"""What a study is: the settings that all share, and what each one declares of itself.

A study is one class in one file of `rnabench.studies`, or of any package that names its module as an entry point of the
group `rnabench.studies`. Its fields are its settings; its methods measure, and show what was measured:

    @study
    class Confidence(Study):
        '''How sure each network is of its answers on clean images.'''

        name = "confidence"
        temperature: float = 1.0
        ...
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import SerializerFunctionWrapHandler, StrictBool, field_validator, model_serializer

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.settings.attacks import AttackSpec, parse_attack
from rnabench.settings.base import (
    BATCH_SIZE,
    Indices,
    NExamples,
    Norm,
    Part,
    Precision,
    Seed,
    described,
    setting,
)
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.pixels import EPS, STEP_SIZE, ThreatSize
from rnabench.settings.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = dict[str, Any]
Results = dict[str, Any]
"""JSON."""
Table = tuple[str, list[str], list[list[str]]]
"""Title, headings, and lines of cells; the first column is text."""

PATHS = described("What a randomised network stands for: itself with a draw per group of images (deployed), one path "
                  "per normaliser, or operator, that all layers have (normalisers), or a number of random paths.",
                  "Network")
RADIUS = described("Euclidean length, in pixel values, up to which the loss is looked at.", "Attack",
                   "the longest change within --eps", gt=0)
LENGTHS = described("Steps along the gradient up to that length.", "Attack", strict=True, ge=1, le=100)


class Study(Part):
    """What is measured of one or several networks, and how it is shown.

    The first paragraph of a study's docstring says in its command's help what it does. `name` is that of its command
    and its files, `title` heads what is drawn, and `legend` says what the columns mean. `version` is raised when its
    numbers change by what it does itself. `accuracy_by`: the columns that name a row, if its rows hold an `accuracy`
    with `low95` and `high95`, which `rnabench check` then compares. `later`: settings that came when there were records
    already; at their default they are not in digests and records, which so stay what they were. Columns of
    `accuracy_by` that a record does not have do not name its rows.

    Images come in the test set's order, `n_examples` of them or those of `indices`. `eps` and `step_size` are pixel
    units for Linf, Euclidean length for L2.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    legend: ClassVar[str]
    version: ClassVar[int] = 1
    accuracy_by: ClassVar[tuple[str, ...]] = ()
    later: ClassVar[tuple[str, ...]] = ()

    norm: Norm = "Linf"
    eps: Annotated[ThreatSize, EPS] = 8 / 255
    step_size: Annotated[ThreatSize | None, STEP_SIZE] = None
    n_examples: NExamples = None
    indices: Indices = None
    batch_size: int = setting(128, BATCH_SIZE, "Run", strict=True, ge=1, le=65536)
    precision: Precision = "fp32"
    seed: Seed = 0

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {name: value for name, value in dump(self).items()
                if name not in self.later or getattr(self, name) != fields[name].default}

    def evaluation(self, **more: Any) -> EvaluationSettings:
        """The same settings as an evaluation's."""
        shared = self.model_dump(include=set(Study.model_fields))
        return EvaluationSettings.model_validate(shared | {"sanity": False} | more)

    @abstractmethod
    def compute(self, networks: Sequence[tuple[str, Any]], classes: int, work: Any) -> Results:
        """The record's results. `networks`: labels and `RandomizedClassifier`s, or `ForeignModel`s, whose draws are no
        paths through layers, in evaluation mode and frozen; `classes`: how many the data set has; `work`
        (`rnabench.studies.measure.work.Work`) goes through its images.

        What needs torch is imported in here: help and reports load the class without it.
        """

    @abstractmethod
    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        """About how many gradients, and how many forward passes, it takes per image and network; `layers`: the choice
        layers of a network, `models`: how many networks there are."""

    @property
    def of_paths(self) -> bool:
        """Whether it is about the paths within a network, so that only networks with several are of use."""
        return False

    @property
    def of_one_path(self) -> bool:
        """Whether only networks with a single path are of use."""
        return False

    @property
    def freezes(self) -> bool:
        """Whether it looks at a draw more than once, so that networks are of no use whose draws do not come again."""
        return True

    def takes(self, is_random: bool) -> bool:
        """Whether networks with several paths, or with one, are of use."""
        return not (self.of_one_path if is_random else self.of_paths)

    def misfits(self, options: Mapping[str, int]) -> Iterator[str]:
        """What keeps it from being done on these models, as `key: what is wrong`. `options`: by model, the most options
        that a layer of it chooses from (normalisers, operators); 1: nothing is random."""
        for name, count in options.items():
            if not self.takes(count > 1):
                expected = "randomised models, with several paths" if self.of_paths else "models with a single path"
                yield f"models: {name!r} is not valid; expected {expected}"

    def check_network(self, label: str, network: Any) -> None:
        """Raises InvalidValue for a network (as `compute` has them, perhaps without values) that it cannot be done on.
        """
        if not self.takes(network.space.is_random):
            raise InvalidValue("RUN", label, "a randomised network: this one has a single path" if self.of_paths else
                               "a network with a single path: this one is randomised")
        if self.of_paths and not hasattr(network.space, "layers"):
            raise InvalidValue("RUN", label, "a network with choice layers, whose paths differ in some of them: this "
                               "one has draws alone")
        if self.freezes and not getattr(network, "replayable", True):
            raise InvalidValue("RUN", label, f"a network whose draws can be frozen, for {self.name}: no seed fixes "
                               "those of this one")

    @classmethod
    @abstractmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        """The lines of its CSV, unrounded."""

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        """What a reader sees: all rows, numbers to four digits, unless the study says otherwise."""
        rows = cls.rows(record)
        lines = [[f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
                  for value in row.values()] for row in rows]
        return [(cls.title, list(rows[0]), lines)]

    @classmethod
    def legend_of(cls, record: Record) -> str:
        """What the columns of this record mean."""
        return cls.legend

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        """What the numbers say, a sentence each."""
        return []

    @classmethod
    @abstractmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        """Figures by what their files' names end with after the study's (the main one: nothing)."""


S = TypeVar("S", bound=type[Study])
STUDIES: Registry[type[Study]] = Registry("study", "rnabench.studies", "rnabench.studies")


def study(kind: S) -> S:
    """Registers a study by its name. Raises RnabenchError for one that lacks something, or whose name is taken."""
    lacking = [word for word in ("name", "title", "legend") if not hasattr(kind, word)]
    if lacking := [*lacking, *sorted(kind.__abstractmethods__), *([] if kind.__doc__ else ["a docstring"])]:
        raise RnabenchError(f"study: {kind.__module__}.{kind.__qualname__} does not declare {', '.join(lacking)}; "
                            "expected all that `rnabench.settings.studies.Study` asks for")
    STUDIES.add(kind.name, kind)
    return kind


class Attacking(Study):
    """A study that attacks."""

    attack: str | dict[str, Any] = setting("pgd7", "Attack by name, as in `rnabench attack --list`.", "Attack")

    @field_validator("attack")
    @classmethod
    def _attack(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        try:
            parse_attack(value)
        except InvalidValue as error:
            raise ValueError(f"expected {error.expected}{error.hint}") from None
        return value

    @property
    def spec(self) -> AttackSpec:
        return parse_attack(self.attack)

    @property
    def specs(self) -> tuple[AttackSpec, ...]:
        """All its attacks."""
        return (self.spec,)

    def attack_passes(self, classes: int) -> tuple[float, float]:
        """As `passes`, for the attack alone."""
        return self.spec.parameters.passes(False, classes)


class Splitting(Study):
    """A study of several networks; a randomised one stands for itself (`deployed`: a fresh draw per batch), for the
    paths that take one normaliser, or operator, throughout (`normalisers`), or for so many random paths."""

    paths: Annotated[str, PATHS] = "deployed"

    @field_validator("paths", mode="before")
    @classmethod
    def _paths(cls, value: object) -> str:
        text = str(value)
        if text not in ("deployed", "normalisers") and not (text.isdecimal() and 1 <= int(text) <= 100):
            raise ValueError("expected deployed, normalisers, or a number of random paths from 1 to 100")
        return text

    def too_few(self, options: Mapping[str, int]) -> Iterator[str]:
        """A misfit for a study of pairs, unless there are two networks or paths; `options` as in `misfits`."""
        split = [1 if count < 2 or self.paths == "deployed" else count if self.paths == "normalisers"
                 else int(self.paths) for count in options.values()]
        if sum(split) < 2:
            yield f"models: {list(options)} is not valid; expected two networks or more, or paths of a randomised one"


class Probing(Study):
    """A study that trains linear classifiers of its own, on frozen networks and the training images of the data set:
    the networks may know other classes. `work` has those images too (`training`)."""

    n_train: int | None = setting(None, "Training images, a random choice.", "Data", "all", strict=True, ge=2)
    augment: StrictBool = setting(False, "Pad by 4, crop at random and mirror training images for the classifier "
                                  "(digits are not mirrored).", "Data")
    epochs: int = setting(100, "Passes over the training images.", "Training", strict=True, ge=1, le=10000)
    lr: float = setting(0.01, "Initial learning rate of SGD, which falls to 0 along a cosine.", "Training", gt=0,
                        le=100)
    momentum: float = setting(0.9, "Momentum of SGD.", "Training", ge=0, lt=1)
    batch_size: int = setting(128, "Images per batch; the numbers depend on it, as those of any training.", "Run",
                              strict=True, ge=2, le=65536)

    @abstractmethod
    def training_passes(self) -> tuple[float, float]:
        """As `passes`, per training image."""
