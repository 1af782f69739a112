"""The record of a study, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from rnabench.report.network import Network
from rnabench.report.record import Data, Made, Record
from rnabench.report.stored import Stored

STUDY_FORMAT: Final = 3


class StudyKeys(Stored):
    """The settings of the study; those that are not listed here too, by name."""

    model_config = ConfigDict(extra="allow")

    norm: str = Field(description="Linf or L2")
    seed: int


class StudyRecord(Made):
    """A study of several networks on the same images. `docs/study.schema.json` says the same.

    In the file, lists of numbers and strings of 0 and 1 in `results` are packed where that is shorter (`Packed`). In
    the program a study is the JSON-like dict that this model has checked: every kind has results of its own.
    """

    format: Literal[3] = Field(description="version of what is described here")
    study: str = Field(description="which kind")
    models: list[Network]
    data: Data
    keys: StudyKeys
    attack: dict[str, Any] | None = Field(description="with all its parameters in effect; null: nothing is attacked")
    attacks: list[dict[str, Any]] | None = Field(default=None, description="the same of each of several")
    seconds_of_last_call: float
    results: dict[str, Any]

    @property
    def label(self) -> str:
        return self.study

    @property
    def networks(self) -> list[Network]:
        return self.models


AnyRecord = Record | Mapping[str, Any]
"""An evaluation's record, or a study's as the program holds it."""


def typed(record: AnyRecord) -> Record | StudyRecord:
    return record if isinstance(record, Record) else StudyRecord.model_validate(record)
