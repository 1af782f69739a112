"""The JSON schemas of records and studies, for readers in other languages: `python -m rnabench.report.schema docs`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rnabench.report.record import Record
from rnabench.report.stored import Stored
from rnabench.report.study_record import StudyRecord
from rnabench.runtime.files import write_text

SCHEMAS: dict[str, type[Stored]] = {"record.schema.json": Record, "study.schema.json": StudyRecord}


def schema(name: str) -> str:
    """The text of the file of that name."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | SCHEMAS[name].model_json_schema()
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        write_text(Path(sys.argv[1]) / name, schema(name))
