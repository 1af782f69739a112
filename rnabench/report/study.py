"""The record of a study: what it holds, typed, and in words what all its numbers share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from rnabench.report.record import Data, Made, Network, Record
from rnabench.report.stored import Stored
from rnabench.settings.pixels import in_255ths

STUDY_FORMAT: Final = 3
FAMILY = {"bn": "BGN", "bgn": "BGN", "in": "GN", "in-plain": "GN", "ln": "GN", "gn": "GN"}


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


def caption(record: dict[str, Any]) -> str:
    """Networks, data and attack, in a sentence without its full stop."""
    models, attack = record["models"], record["attack"]
    networks = ", ".join(dict.fromkeys(f"{model['arch']} width {model['width']}" for model in models))
    training = ", ".join(dict.fromkeys(_training(model) for model in models))
    parts = [f"{networks}, {training}", f"{record['data']['name']}, {len(record['data']['indices']):,} test images"]
    if attack is not None:
        named = re.sub(r"^([a-z]+)(\d+)$", r"\1-\2", attack["name"]).upper()
        length = in_255ths if record["keys"]["norm"] == "Linf" else "{:.4g}".format
        sizes = [f"{text} {length(attack[name])}" for name, text in (("eps", "eps"), ("step_size", "step"))
                 if attack.get(name) is not None]
        parts.append(f"{named}, {record['keys']['norm']} {', '.join(sizes)}" if "eps" in attack else named)
    return "; ".join(parts)


def _training(model: dict[str, Any]) -> str:
    return "naturally trained" if model["objective"] == "standard" else "adversarially trained"


PUBLISHED = "**paper**: the published value, of full-size networks on all of CIFAR-10."


def like_the_paper(record: dict[str, Any]) -> bool:
    """Whether published numbers may stand beside these: CIFAR-10 (or a part or copy of it), adversarially trained
    ResNet-18s, Linf 8/255. Theirs are of full networks."""
    attack = record["attack"] or {}
    return is_cifar10(record["data"]["name"]) and record["keys"]["norm"] == "Linf" and abs(
        attack.get("eps", 0) - 8 / 255) < 1e-9 and all(
        model["arch"] == "resnet18" and model["objective"] != "standard" for model in record["models"])


def is_cifar10(name: str) -> bool:
    """By its name, `cifar10` or `cifar10-...`."""
    return name == "cifar10" or name.startswith("cifar10-")


def family(space: str | None) -> str | None:
    """GN or BGN (section 3.1) for a space of one normaliser, else None."""
    if space is None or "+" in space:
        return None
    return FAMILY.get(space.rstrip("0123456789[]-"))


def spaces(record: dict[str, Any]) -> list[str]:
    """The space of every subject's normalisers: its network's, or what the path that it is held on uses."""
    own = {model["label"]: model["space"] for model in record["models"]}
    return [subject["space"] or own[subject["label"]] for subject in record["results"]["subjects"]]


def with_interval(share: float | None, interval: list[float] | None) -> str:
    """`52.1 [48.0, 56.2]` from shares in [0, 1]."""
    if share is None:
        return "-"
    low, high = interval or (share, share)
    return f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
