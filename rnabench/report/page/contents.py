"""What lies in result folders: records, studies, measurements of speed and of agreement with libraries."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.report import bench, crosscheck, randomness, table
from rnabench.report.origin import origin_lines
from rnabench.report.page import settings
from rnabench.report.record import Record
from rnabench.report.record_file import read_record, read_study
from rnabench.report.standing import network_text, standings
from rnabench.report.study import heading, legend, study_of
from rnabench.report.table_files import read_csv
from rnabench.report.verdict import sanity_lines

Content = dict[str, Any]
C = TypeVar("C", Content, Record)
SMOKE = "-smoke"  # how folders end that `rnabench reproduce --profile smoke` writes


@dataclass
class ResultFolder:
    """What one folder holds; records and studies by the stem of their file, records in the order of `table.csv`."""

    path: Path
    name: str
    records: dict[str, Record] = field(default_factory=dict)
    studies: dict[str, Content] = field(default_factory=dict)
    bench: Content | None = None
    crosscheck: Content | None = None


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
            if folder.records or folder.studies or folder.bench or folder.crosscheck:
                found.append(folder)
    if not found:
        names, why = ", ".join(repr(str(root)) for root in roots), f"; {skipped[0]}" if skipped else ""
        raise RnabenchError(f"FOLDER: {names} holds no results{_but(passed_over)}{why}; expected records written by "
                            "`rnabench attack`, `reproduce` or a study")
    return Contents(tuple(sorted(found, key=_place)), tuple(skipped), passed_over)


def _but(smoke: int) -> str:
    return f" but those of {smoke} smoke tests, which --smoke shows" if smoke else ""


def _place(folder: ResultFolder) -> tuple[int, str]:
    kinds = (folder.records, folder.studies, folder.bench, folder.crosscheck)
    return next(place for place, kind in enumerate(kinds) if kind), folder.name


def _read(path: Path, name: str) -> tuple[ResultFolder, list[str]]:
    folder, skipped = ResultFolder(path, name), []
    for file in sorted(path.glob("*.json")):
        try:
            content = _parsed(file)
            if "study" in content and "results" in content:
                folder.studies[file.stem] = _whole(file, read_study(file), _study_parts)
            elif "results" in content and "format" in content:
                folder.records[file.stem] = _whole(file, read_record(file), _record_parts)
            elif file.name == "bench.json" and "cases" in content:
                folder.bench = _whole(file, content, _bench_parts)
            elif file.name == "crosscheck.json" and "cases" in content:
                folder.crosscheck = _whole(file, content, _crosscheck_parts)
        except RnabenchError as error:
            skipped.append(str(error))
    order = _order(path / "table.csv")
    baselines = {record.baseline.digest for record in folder.records.values() if record.baseline}
    folder.records = dict(sorted(folder.records.items(), key=lambda item: (
        order.get(item[1].label, len(order)), item[1].digest not in baselines, item[0])))
    return folder, skipped


def _parsed(file: Path) -> Content:
    """The object in a JSON file; an empty one if it holds anything else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RnabenchError(f"record: {str(file)!r} cannot be read ({type(error).__name__}); expected JSON") from None
    return content if isinstance(content, dict) else {}


def _whole(file: Path, content: C, parts: Callable[[C], object]) -> C:
    """`content`, of which all parts that a page shows can be made. Raises RnabenchError if not."""
    try:
        parts(content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise RnabenchError(f"record: {str(file)!r} is damaged ({reason}); expected a whole record") from None
    return content


def _record_parts(record: Record) -> object:
    return (table.display([record]), table.caption([record]), table.legend([record]), sanity_lines([record]),
            settings.of_record(record, ""), settings.result_rows(record.cells, record.threat.norm),
            origin_lines([record]), randomness.tables([record]),
            [network_text(each.network) for each in standings([record], None)])


def _study_parts(record: Content) -> object:
    measured = study_of(record)
    return (heading(record), measured.tables(record), measured.findings(record), legend(record),
            settings.of_study(record, ""), origin_lines([record]))


def _bench_parts(result: Content) -> object:
    return bench.display_rows(result), result["title"], result["repeats"], settings.of_measurement(result, "")


def _crosscheck_parts(result: Content) -> object:
    return crosscheck.display_rows(result), crosscheck.title(result), settings.of_measurement(result, "")


def _order(file: Path) -> dict[str, int]:
    """The places of the models in a `table.csv`, which puts the baseline first."""
    try:
        headings, *lines = read_csv(file)
        column = headings.index("model")
        labels = dict.fromkeys(line[column] for line in lines)
    except (OSError, ValueError, IndexError, csv.Error):
        return {}
    return {label: place for place, label in enumerate(labels)}
