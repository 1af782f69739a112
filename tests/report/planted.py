"""Records, as their JSON has them, that something is changed in, and results made of outcomes alone, to be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rnabench.report.accuracies import SETTINGS, Accuracy, AccuracyKey, RecordSettings, Results, read_accuracies
from rnabench.report.record import Record, Result
from rnabench.report.record_file import write_record
from rnabench.report.regression import Regression, compare
from rnabench.report.scores import stated_headline
from rnabench.report.table import write_tables
from rnabench.scoring.interval import accuracy_interval
from rnabench.scoring.outcome import Bits, Outcome

RESULTS = Path(__file__).parents[2] / "results"
Records = dict[str, dict[str, Any]]


def rescored(record: dict[str, Any], number: int, change: Callable[[Bits], Bits]) -> None:
    """Replace the outcomes of a result, and every number that follows from them."""
    typed = Record.model_validate(record)
    old = typed.results[number]
    outcome = typed.outcome(old)
    correct = change(outcome.correct)
    batches = None if outcome.groups is None else outcome.groups[: len(correct)]
    new = Result.of(Outcome(*outcome.key, correct, correct.mean(1) > 0.5, correct[:, 0], batches), old.draws_are,
                 old.parameters)
    record["results"][number] = new.content() | {"unreliable": old.unreliable}
    if len(correct) == len(outcome.correct):
        worst = stated_headline(Record.model_validate(record))
        record["headline"] = worst and worst.content()


def compared(records: Records, committed: Records, folder: Path, table: str = "", **options: Any) -> Regression:
    """As `check` does it; what `table` names ("new", "old") is read from a table.csv alone."""
    for side, content in {"new": records, "old": committed}.items():
        typed = {name: Record.model_validate(record) for name, record in content.items()}
        write_tables(list(typed.values()), folder / side, "Title")
        if side not in table:
            for name, record in typed.items():
                write_record(record, folder / side / f"{name}.json")
    return compare(read_accuracies(folder / "new", "new"), read_accuracies(folder / "old", "old"), **options)


def kinds(comparison: Regression) -> set[str]:
    return {problem.kind for line in comparison.lines for problem in line.problems}


def broken(share: float, to: bool = False) -> Callable[[Bits], Bits]:
    """Make so many of the images wrong (or right) on every draw."""
    def change(correct: Bits) -> Bits:
        found = correct.copy()
        found[:: round(1 / share)] = to
        return found
    return change


def every_result(records: Records) -> list[dict[str, Any]]:
    return [each for record in records.values() for each in record["results"]]


def set_at(value: Any, *names: Any) -> Callable[[Records], None]:
    def change(records: Records) -> None:
        place: Any = records
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = value
    return change


def removed(*names: Any) -> Callable[[Records], None]:
    def change(records: Records) -> None:
        place: Any = records
        for name in names[:-1]:
            place = place[name]
        del place[names[-1]]
    return change


def cell(correct: Bits, batches: Any = None, with_outcome: bool = False) -> Accuracy:
    low, high = accuracy_interval(correct, batches)
    outcome = Outcome("a", "p", correct, correct.mean(1) > 0.5, correct[:, 0], batches) if with_outcome else None
    settings = dict.fromkeys(SETTINGS, 0) | {"images": len(correct)}
    return Accuracy(float(correct.mean()), low, high, settings, outcome=outcome)


def recorded(outcomes: Mapping[AccuracyKey, Bits], batches: Any = None, seed: int = 0, weights: str = "",
             method: str = "") -> Results:
    """Results of records: of networks that have the name's weights unless others are given."""
    cells = {key: cell(correct, batches, with_outcome=True) for key, correct in outcomes.items()}
    return Results(cells, {name: RecordSettings({}, {}, seed, method=method or name, weights=weights or name)
                           for name, *_ in outcomes})
