"""Records and studies as JSON files: written atomically, read strictly, also as older versions wrote them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from rnabench.errors import RnabenchError, all_at_once
from rnabench.report.record import FORMAT, Record
from rnabench.report.scores import contradiction
from rnabench.report.stored import PackedBits, Stored, pack, unpack
from rnabench.report.study_record import STUDY_FORMAT, StudyRecord
from rnabench.runtime.files import write_text
from rnabench.runtime.plain import plain
from rnabench.scoring.outcome import from_bits
from rnabench.settings.base import problems
from rnabench.settings.documents import Unreadable, read_json

OLDER = (2, 3)  # of a record: outcomes as strings of 0 and 1; 2: before algorithms had versions
OLDER_STUDIES = (1, 2)  # of a study: nothing is packed; 1: before algorithms had versions
WIDTH = 120
WRONG_CONTENT = ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError
Kind = Literal["record", "study", "other"]


def kind_of(content: Any) -> Kind:
    """What a JSON file of results holds, also where a part of it is lost: what has nothing of a record or a study in it
    is another thing (a measurement of speed, say); what has nothing in it at all was a record, as far as one knows."""
    if not content:
        return "record"
    if not isinstance(content, dict):
        return "other"
    if "study" in content or {"keys", "models"} <= content.keys():
        return "study"
    return "record" if {"results", "sanity", "threat", "evaluation"} & content.keys() else "other"


def read_record(file: Path) -> Record:
    """The record of an evaluation. Raises RnabenchError for a file that is none, or is damaged, with all its faults, or
    whose numbers are not those of its outcomes."""
    content = read_content(file, "`rnabench attack`")
    if not isinstance(content, dict) or "results" not in content or "format" not in content:
        raise RnabenchError(f"record: {str(file)!r} is no record; expected JSON written by `rnabench attack`")
    if content["format"] not in (FORMAT, *OLDER):
        raise RnabenchError(f"record: {str(file)!r} has {_other(content)}; expected {FORMAT}: run the same command "
                            "with --no-resume or another --out")
    with reading(file):
        record = Record.model_validate(content if content["format"] == FORMAT else _from_older(content))
        if doubtful := contradiction(record):
            raise ValueError(f"it contradicts itself: {doubtful}")
        return record


def write_record(record: Record, file: Path) -> None:
    """Atomically."""
    write_text(file, _lines(plain({"format": FORMAT} | record.content())) + "\n")


def read_study(file: Path) -> dict[str, Any]:
    """The record of a study, all lists unpacked. Raises RnabenchError for a file that is none, or is damaged."""
    content = read_content(file, "a study such as `rnabench transfer-matrix`")
    if not isinstance(content, dict) or "study" not in content or (
            content.get("format") not in (STUDY_FORMAT, *OLDER_STUDIES)):
        raise RnabenchError(f"record: {str(file)!r} is no study of format {STUDY_FORMAT}; run the same command with "
                            "--no-resume or another --out")
    with reading(file):
        study = content | {"format": STUDY_FORMAT, "results": unpack(content.get("results"))}
        StudyRecord.model_validate(study)
        return study


def records_in(place: Path) -> Iterator[tuple[Path, Record]]:
    """The records of evaluations in a folder and below it, or the one in a file; JSON of other kinds is passed over.
    Raises RnabenchError for a file that is damaged."""
    for file in [place] if place.is_file() else sorted(place.rglob("*.json")):
        if kind_of(read_content(file)) == "record":
            yield file, read_record(file)


def write_study_record(study: dict[str, Any], file: Path) -> None:
    """Write the record of a study, long lists packed."""
    content = plain(study)  # lists where there were tuples, as a reader will see it
    StudyRecord.model_validate(content)
    write_text(file, json.dumps(content | {"results": pack(content["results"])}, separators=(",", ":")) + "\n")


def read_content(file: Path, writer: str = "rnabench") -> Any:
    """What a JSON file of results holds, whatever that is. Raises RnabenchError where it cannot be read."""
    try:
        return read_json(file)
    except Unreadable as error:
        raise RnabenchError(f"record: {str(file)!r} cannot be read ({error}); expected JSON written by {writer}"
                            ) from None


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Whatever fails inside, where something is made of what `file` holds, is a fault of the file: RnabenchError, with
    every key whose value is of the wrong kind."""
    try:
        yield
    except ValidationError as error:
        told = [f"{key}: {problem}" if key else problem for key, problem in problems(error, Stored)]
        reason = all_at_once(told, between="; ")
    except WRONG_CONTENT as error:
        reason = f"{type(error).__name__}: {all_at_once(str(error).splitlines(), between=' ')}"
    else:
        return
    raise RnabenchError(f"record: {str(file)!r} is damaged ({reason}); expected a whole record")


def _other(content: dict[str, Any]) -> str:
    return f"format {content['format']!r}" if isinstance(content["format"], int | str) else "no format"


def _from_older(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a record of an older format as the present one has it."""
    def packed(result: dict[str, Any]) -> dict[str, Any]:
        kept = result["outcomes"]
        correct = np.stack([from_bits(draw) for draw in kept["correct"]], axis=1)
        arrays = {"correct": correct, "majority": from_bits(kept["majority"]), "reported": from_bits(kept["reported"])}
        return result | {"outcomes": kept | {name: PackedBits.of(values).content() for name, values in arrays.items()}}

    sanity = content["sanity"] | {"probes": [packed(probe) for probe in content["sanity"]["probes"]]}
    return content | {"format": FORMAT, "sanity": sanity, "results": [packed(result) for result in content["results"]]}


def _lines(value: Any, indent: str = "") -> str:
    """JSON: on one line what fits there, and lists of numbers and texts."""
    flat = json.dumps(value)
    inner = indent + " "
    if len(indent) + len(flat) <= WIDTH:
        return flat
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(name)}: {_lines(part, inner)}" for name, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        return "[\n" + ",\n".join(inner + _lines(part, inner) for part in value) + f"\n{indent}]"
    return flat


SCHEMAS: dict[str, type[Stored]] = {"record.schema.json": Record, "study.schema.json": StudyRecord}


def schema(name: str) -> str:
    """The text of the file of that name."""
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | SCHEMAS[name].model_json_schema()
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        write_text(Path(sys.argv[1]) / name, schema(name))
