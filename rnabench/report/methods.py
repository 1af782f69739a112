"""Records by method: the trainings of a method differ in their seed alone, and people read one row for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnabench.report.record import Record
from rnabench.report.scores import rows
from rnabench.scoring.trainings import spread

MEANS = ("worst_of_draws", "majority", "attack_reported", "median_l2")


@dataclass(frozen=True)
class Method:
    """A method and the records of its trainings, at least one."""

    name: str
    records: tuple[Record, ...]

    @property
    def title(self) -> str:
        return f"{self.name} ({len(self.records)} trainings)" if len(self.records) > 1 else self.name

    def not_comparable(self, other: Method) -> str | None:
        """A sentence on why the two cannot be compared; None if both were attacked on the same images, under the same
        threat model."""
        records = (*self.records, *other.records)
        data, why = records[0].data, None
        if any((each.data.fingerprint, each.data.indices) != (data.fingerprint, data.indices) for each in records):
            why = "on different images"
        elif any(each.threat != records[0].threat for each in records):
            why = "under different threat models"
        return why and f"{self.name} and {other.name} were attacked {why}: they are not compared."


def methods(records: Sequence[Record]) -> list[Method]:
    """The methods of the records, in their order. A record labelled like its method comes from a recipe without several
    seeds: it is a method of its own, not one of the trainings."""
    found: dict[tuple[str, bool], list[Record]] = {}
    for record in records:
        found.setdefault((record.method, record.method == record.label), []).append(record)
    return [Method(name, tuple(trainings)) for (name, _), trainings in found.items()]


def method_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The rows of each method as people read them: means over its trainings where there are several.

    `sd` is the standard deviation over trainings, and None of one training, whose 95 % interval is in `low95` and
    `high95`. A row that one of the trainings lacks is left out.
    """
    found = []
    for method in methods(records):
        by_cell: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows(method.records):
            by_cell.setdefault((row["attack"], row["protocol"]), []).append(row)
        for same in by_cell.values():
            if len(same) == len(method.records):
                found.append(_row(method, same))
    return found


def _row(method: Method, same: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row = same[0] | {"model": method.title, "method": method.name, "sd": None}
    if len(same) == 1:
        return row
    mean, sd = spread([each["accuracy"] for each in same])
    means = {name: spread(values)[0] for name in MEANS
             if len(values := [each[name] for each in same if each[name] is not None]) == len(same)}
    return row | dict.fromkeys(MEANS) | means | {
        "accuracy": mean, "sd": sd, "low95": None, "high95": None,
        "unreliable": any(each["unreliable"] for each in same)}


def shown_accuracy(row: dict[str, Any]) -> str:
    """`52.3 ± 1.9`: of several trainings the standard deviation over them, of one the larger half of its 95 % interval;
    `!` if a sanity check failed."""
    after = row["sd"] if row["sd"] is not None else max(row["high95"] - row["accuracy"], row["accuracy"] - row["low95"])
    return f"{100 * row['accuracy']:.1f} ± {100 * after:.1f}" + ("!" if row["unreliable"] else "")
