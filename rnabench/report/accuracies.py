"""Results read back, for comparison: every accuracy of a folder of records, or of a `table.csv`, in one form."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from rnabench.errors import RnabenchError, did_you_mean
from rnabench.report.record import Record
from rnabench.report.record_file import WRONG_CONTENT, kind_of, read_content, read_record, read_study
from rnabench.report.scores import headline, rows
from rnabench.report.study import study_of
from rnabench.report.table_files import read_csv
from rnabench.scoring.outcome import Outcome
from rnabench.settings.parts import PARTS

AccuracyKey = tuple[str, str, str]  # model, attack, protocol
Name = TypeVar("Name", str, AccuracyKey)
Value = TypeVar("Value")
EXPECTED = "a folder with records (JSON written by `rnabench reproduce` or `rnabench attack`) or a table.csv"
SETTINGS = ("dataset", "images", "threat", "eps", "draws", "draws_are")  # that a table.csv holds
NETWORK = ("arch", "space", "width", *PARTS, "layer_based", "deployed", "objective", "randomised")
# of a study: they decide what is drawn at random, or follow from its images (but see `_study_source`)
NO_SETTINGS = ("seed", "batch_size", "precision", "n_examples", "indices")


@dataclass(frozen=True)
class Accuracy:
    """An accuracy and its 95 % interval, shares in [0, 1], with what it was measured under, by name; `outcome`, every
    image's, where a record holds it."""

    accuracy: float
    low: float
    high: float
    settings: Mapping[str, Any]
    unreliable: bool = False
    outcome: Outcome | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class RecordSettings:
    """What all cells of one record share: settings by name (of the network, without its weights, and the images), the
    status of every sanity check by number and name, and the evaluation's seed.

    `method`: what its trainings have in common, by default its label. `weights`: their hash. `algorithms`: their
    versions, which decide the random draws besides the seed.
    """

    settings: Mapping[str, Any]
    flags: Mapping[str, str]
    seed: int
    is_study: bool = False
    method: str = ""
    weights: str = ""
    algorithms: Mapping[str, int] | None = None  # None: made before algorithms had versions


@dataclass(frozen=True)
class Results:
    """Cells by model (or figure), attack and protocol; sources by model (or figure), none for a `table.csv`."""

    cells: Mapping[AccuracyKey, Accuracy]
    sources: Mapping[str, RecordSettings] = field(default_factory=dict)

    def as_table(self) -> Results:
        """These results as far as a `table.csv` would hold them."""
        studies = {name for name, source in self.sources.items() if source.is_study}
        return Results({key: replace(cell, settings={name: cell.settings[name] for name in SETTINGS}, outcome=None)
                        for key, cell in self.cells.items() if key[0] not in studies})


def read_accuracies(path: Path, option: str) -> Results:
    """The results of a folder (of its `table.csv` if it has no records), of a `table.csv` or of one record.

    Raises RnabenchError, naming `option` where there is nothing to read.
    """
    if not path.exists():
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near)
        raise RnabenchError(f"{option}: {str(path)!r} does not exist; expected {EXPECTED}{hint}")
    if path.is_file() and path.suffix != ".json":
        return _of_table(path)
    cells: list[tuple[AccuracyKey, Accuracy]] = []
    sources: list[tuple[str, RecordSettings]] = []
    for file in [path] if path.is_file() else sorted(path.glob("*.json"), key=lambda file: file.stem):
        source, found = _of_file(file)
        sources += source
        cells += found
    if sources:
        return Results(_once(cells, path), _once(sources, path))
    if (path / "table.csv").is_file():
        return _of_table(path / "table.csv")
    inside = sorted(file.parent.name for file in path.glob("*/table.csv"))
    hint = f"; its folders that are: {', '.join(inside)}" if inside else ""
    raise RnabenchError(f"{option}: {str(path)!r} has no results; expected {EXPECTED}{hint}")


def _of_file(file: Path) -> tuple[list[tuple[str, RecordSettings]], list[tuple[AccuracyKey, Accuracy]]]:
    """The source and the cells of a record or a study; nothing for JSON of another kind, such as a bench's."""
    try:
        kind = kind_of(read_content(file))
        if kind == "study":
            study = read_study(file)
            return [(file.stem, _study_source(study))], list(_study_cells(file.stem, study))
        if kind == "other":
            return [], []
        record = read_record(file)
        return [(record.label, _record_source(record))], list(_record_cells(record))
    except WRONG_CONTENT as error:
        raise RnabenchError(f"record: {str(file)!r} cannot be used ({type(error).__name__}: {error}); expected JSON "
                            "written by rnabench") from None


def _record_source(record: Record) -> RecordSettings:
    settings = _network(record.model.content()) | {
        "fingerprint of the images": record.data.fingerprint, "cumulative": record.evaluation.cumulative} | (
        {"images in a batch": record.evaluation.batch_size} if record.model.batch_dependent else {})
    return RecordSettings(settings, {f"{flag.check} {flag.name}": flag.status for flag in record.sanity.flags},
                          record.evaluation.seed, method=record.method, weights=record.model.weights_sha256,
                          algorithms=record.algorithms)


def _record_cells(record: Record) -> Iterator[tuple[AccuracyKey, Accuracy]]:
    for row, result in zip_longest(rows([record]), record.results):
        if result is not None:
            yield _cell(row, result.parameters, record.outcome(result))
        elif record.headline is not None:  # the last row is the worst case of several attacks
            attacks, worst = record.headline.attacks, headline(record)
            yield _cell(row, {"attacks": attacks}, worst.outcome if worst and list(worst.attacks) == attacks else None)


def _study_source(record: dict[str, Any]) -> RecordSettings:
    networks = {f"{model['label']}: {name}": value for model in record["models"]
                for name, value in _network(model).items()}
    mates = any(model.get("batch_dependent") for model in record["models"])
    keys = {name: value for name, value in record["keys"].items()
            if name not in NO_SETTINGS or (name == "batch_size" and mates)}
    several = {f"{attack['name']}: {name}": value for attack in record.get("attacks") or ()
               for name, value in attack.items()}
    return RecordSettings(networks | keys | (record["attack"] or several) | {
        "study": record["study"], "fingerprint of the images": record["data"]["fingerprint"]},
        {}, record["keys"]["seed"], is_study=True, algorithms=record.get("algorithms"))


def _study_cells(name: str, record: dict[str, Any]) -> Iterator[tuple[AccuracyKey, Accuracy]]:
    """Nothing of a study whose rows are no accuracies."""
    study = study_of(record)
    for row in study.rows(record) if study.accuracy_by else ():
        if row["accuracy"] is None:  # what could not be measured
            continue
        said = ", ".join(f"{column} {row[column]}" for column in study.accuracy_by if column in row)
        yield (name, said, study.name), _shares(row, {"images": len(record["data"]["indices"])})


def _network(model: dict[str, Any]) -> dict[str, Any]:
    return {name: model[name] for name in NETWORK if name in model}


COLUMNS: dict[str, Callable[[str], Any]] = {
    "model": str, "attack": str, "protocol": str, "accuracy": float, "low95": float, "high95": float,
    "unreliable": lambda text: ("False", "True").index(text), "dataset": str, "images": int, "threat": str,
    "eps": float, "draws": int, "draws_are": str,
}


def _of_table(file: Path) -> Results:
    try:
        names, *rows = read_csv(file) or [[]]
        lines = [dict(zip(names, row, strict=False)) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise RnabenchError(f"table: {str(file)!r} cannot be read ({type(error).__name__}); expected a table.csv "
                            "written by rnabench") from None
    missing = [name for name in COLUMNS if name not in names]
    if missing or not lines:
        raise RnabenchError(f"table: {str(file)!r} has no {', '.join(missing) or 'rows'}; expected a table.csv written "
                            "by rnabench")
    cells = []
    for number, line in enumerate(lines, 2):
        try:
            cells.append(_cell({name: kind(line[name]) for name, kind in COLUMNS.items()}))
        except (ValueError, TypeError, KeyError) as error:
            raise RnabenchError(f"table: line {number} of {str(file)!r} is not valid ({error}); expected a table.csv "
                                "written by rnabench") from None
    return Results(_once(cells, file))


def _cell(row: Mapping[str, Any], more: Mapping[str, Any] | None = None, outcome: Outcome | None = None
          ) -> tuple[AccuracyKey, Accuracy]:
    settings = {**(more or {}), **{name: row[name] for name in SETTINGS}}
    return (row["model"], row["attack"], row["protocol"]), _shares(row, settings, outcome)


def _shares(row: Mapping[str, Any], settings: dict[str, Any], outcome: Outcome | None = None) -> Accuracy:
    accuracy, low, high = row["accuracy"], row["low95"], row["high95"]
    if not 0 <= low <= accuracy <= high <= 1:  # NaN, too: it would compare as equal to everything
        raise ValueError(f"accuracy {accuracy} [{low}, {high}] is no share in its interval")
    return Accuracy(accuracy, low, high, settings, bool(row.get("unreliable", False)), outcome)


def _once(pairs: list[tuple[Name, Value]], place: Path) -> dict[Name, Value]:
    found: dict[Name, Value] = {}
    for name, value in pairs:
        if name in found:
            said = name if isinstance(name, str) else " / ".join(name)
            raise RnabenchError(f"results: {str(place)!r} has {said!r} twice; expected every cell once")
        found[name] = value
    return found
