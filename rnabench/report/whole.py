"""Records of which everything can be made that people see: damage that their types do not show is found here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnabench.report import randomness, table
from rnabench.report.origin import origin_lines
from rnabench.report.page import settings, view
from rnabench.report.record import Record
from rnabench.report.record_file import read_record, read_study, reading
from rnabench.report.scores import judged
from rnabench.report.standing import network_text, standings
from rnabench.report.study import heading, legend, study_of
from rnabench.report.verdict import sanity_lines


def whole_record(file: Path) -> Record:
    """The record of an evaluation. Raises RnabenchError for a file that is none, or is damaged."""
    record = read_record(file)
    with reading(file):
        (table.display([record]), table.caption([record]), table.legend([record]), sanity_lines([record]),
         settings.of_record(record, ""), settings.result_rows(record.cells, record.threat.norm),
         origin_lines([record]), randomness.tables([record]),
         [network_text(each.network) for each in standings([record], None)])
    return record


def baseline_record(file: Path) -> Record:
    """A record that others are judged beside. Raises RnabenchError."""
    record = whole_record(file)
    with reading(file):
        judged(record)
    return record


def whole_study(file: Path) -> dict[str, Any]:
    """The record of a study. Raises RnabenchError for a file that is none, or is damaged."""
    study = read_study(file)
    check_study(study, file)
    return study


def check_study(study: dict[str, Any], file: Path) -> None:
    """Raises RnabenchError for a study, as read from `file`, of which not all can be made."""
    with reading(file):
        measured = study_of(study)
        (heading(study), measured.rows(study), measured.findings(study), legend(study),
         [view.table(*each) for each in measured.tables(study)], settings.of_study(study, ""), origin_lines([study]))
