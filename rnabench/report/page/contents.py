"""What lies in result folders: records, studies, measurements of speed and of agreement with libraries."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.report import bench, crosscheck
from rnabench.report.page import settings
from rnabench.report.record import Record
from rnabench.report.record_file import kind_of, read_content, reading
from rnabench.report.table_files import read_csv
from rnabench.report.whole import whole_record, whole_study

Content = dict[str, Any]
SMOKE = "-smoke"  # how folders end that `rnabench reproduce --profile smoke` writes


@dataclass
class ResultFolder:
    """What one folder holds; records and studies by the stem of their file, records in the order of `table.csv`.
    `unreadable`: why, for every file that is damaged."""

    path: Path
    name: str
    records: dict[str, Record] = field(default_factory=dict)
    studies: dict[str, Content] = field(default_factory=dict)
    bench: Content | None = None
    crosscheck: Content | None = None
    unreadable: list[str] = field(default_factory=list)

    @property
    def holds_results(self) -> bool:
        return bool(self.records or self.studies or self.bench or self.crosscheck)


@dataclass(frozen=True)
class Contents:
    """The folders in the order in which a page shows them, a line for every record that cannot be shown, and how many
    folders of smoke tests were passed over."""

    folders: tuple[ResultFolder, ...]
    skipped: tuple[str, ...]
    smoke: int


def read_folders(roots: Sequence[Path], smoke: bool = False) -> Contents:
    """The result folders in and below `roots`: tables first, then figures, measurements of speed and of agreement with
    libraries; each by name. Those of smoke tests count where they are named themselves, or with `smoke`.

    Files that are no record are passed over. Raises RnabenchError where nothing is left.
    """
    found, skipped, seen, passed_over = [], list[str](), set[Path](), 0
    for root in roots:
        if not root.is_dir():
            raise InvalidValue("FOLDER", str(root), "a folder of results")
        for path in sorted({file.parent for file in root.rglob("*.json")}):
            within = path.relative_to(root)
            if path.resolve() in seen or any(part.startswith(".") for part in within.parts):
                continue
            if not smoke and any(part.endswith(SMOKE) for part in within.parts):
                passed_over += 1
                continue
            seen.add(path.resolve())
            parts = within.parts if len(roots) == 1 and within.parts else (root.resolve().name, *within.parts)
            folder, lines = _read(path, "/".join(parts))
            skipped += lines
            if folder.holds_results or folder.unreadable:
                found.append(folder)
    if not any(folder.holds_results for folder in found):
        names, why = ", ".join(repr(str(root)) for root in roots), f"; {skipped[0]}" if skipped else ""
        raise RnabenchError(f"FOLDER: {names} holds no results{_but(passed_over)}{why}; expected records written by "
                            "`rnabench attack`, `reproduce` or a study")
    return Contents(tuple(sorted(found, key=_place)), tuple(skipped), passed_over)


def _but(smoke: int) -> str:
    return f" but those of {smoke} smoke tests, which --smoke shows" if smoke else ""


def _place(folder: ResultFolder) -> tuple[int, str]:
    kinds = (folder.records, folder.studies, folder.bench, folder.crosscheck)
    return next((place for place, kind in enumerate(kinds) if kind), len(kinds)), folder.name


def _read(path: Path, name: str) -> tuple[ResultFolder, list[str]]:
    folder, skipped = ResultFolder(path, name), []
    for file in sorted(path.glob("*.json")):
        try:
            _read_file(file, folder)
        except RnabenchError as error:
            skipped.append(str(error))
            folder.unreadable.append(str(error).replace(repr(str(file)), repr(file.name)))
    order = _order(path / "table.csv")
    baselines = {record.baseline.digest for record in folder.records.values() if record.baseline}
    folder.records = dict(sorted(folder.records.items(), key=lambda item: (
        order.get(item[1].label, len(order)), item[1].digest not in baselines, item[0])))
    return folder, skipped


def _read_file(file: Path, folder: ResultFolder) -> None:
    """Add what a file holds. Raises RnabenchError for one that is damaged."""
    content = read_content(file)
    kind = kind_of(content)
    if kind == "study":
        folder.studies[file.stem] = whole_study(file)
    elif kind == "record":
        folder.records[file.stem] = whole_record(file)
    elif file.name == "bench.json" and "cases" in content:
        with reading(file):
            bench.display_rows(content), content["title"], content["repeats"], settings.of_measurement(content, "")
        folder.bench = content
    elif file.name == "crosscheck.json" and "cases" in content:
        with reading(file):
            crosscheck.display_rows(content), crosscheck.title(content), settings.of_measurement(content, "")
        folder.crosscheck = content


def _order(file: Path) -> dict[str, int]:
    """The places of the models in a `table.csv`, which puts the baseline first."""
    try:
        headings, *lines = read_csv(file)
        column = headings.index("model")
        labels = dict.fromkeys(line[column] for line in lines)
    except (OSError, ValueError, IndexError, csv.Error):
        return {}
    return {label: place for place, label in enumerate(labels)}
