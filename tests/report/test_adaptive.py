"""The headline is "under the adaptive suite" only where that suite was run, whatever the attacks are called."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnabench.report.record import Record
from rnabench.report.record_file import read_record
from rnabench.report.scores import is_adaptive_suite, stated_headline

RESULTS = Path(__file__).parents[2] / "results" / "quickstart-suites"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(params=["bn", "bn+in"])
def record(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of the suites `paper` and `adaptive`, as its JSON has it."""
    return read_record(RESULTS / f"{request.param}.json").content()


def of(record: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [result["parameters"] for result in record["results"]
            if result["parameters"].get("kind") == kind and result["protocol"] != "paper"]


def all_are_fgsm(record: dict[str, Any]) -> None:
    """Under the names of the suite's attacks."""
    fgsm = of(record, "fgsm") or [result["parameters"] for result in record["results"] if result["attack"] == "fgsm"]
    for result in record["results"]:
        if result["bounded"] and result["attack"] != "natural":
            result["parameters"] = dict(fgsm[0])


LESS: dict[str, Change] = {
    "FGSM under other names": all_are_fgsm,
    "fewer steps": lambda record: [each.update(steps=each["steps"] // 2) for each in of(record, "pgd")],
    "another loss": lambda record: [each.update(loss="ce") for each in of(record, "pgd")],
    "no momentum": lambda record: [each.update(decay=0.0) for each in of(record, "mifgsm")],
    "fewer queries": lambda record: [each.update(queries=10) for each in of(record, "square")],
    "small steps": lambda record: [each.update(step_size=1e-6) for each in of(record, "pgd")],
    "another eps": lambda record: [each.update(eps=1e-6) for each in of(record, "autoattack")],
    "a library's attacks": lambda record: [each.update(backend="torchattacks") for each in of(record, "mifgsm")],
    "no AutoAttack": lambda record: record.update(
        results=[result for result in record["results"] if result["attack"] != "autoattack"]),
}


@pytest.mark.parametrize("what", LESS)
def test_what_is_less_than_the_suite_is_not_called_so(what: str, record: dict[str, Any]) -> None:
    assert is_adaptive_suite(Record.model_validate(record))
    less = copy.deepcopy(record)
    LESS[what](less)
    assert not is_adaptive_suite(Record.model_validate(less))
    worst = stated_headline(Record.model_validate(less))
    assert worst is not None
    assert not worst.adaptive_suite


def test_names_do_not_matter(record: dict[str, Any]) -> None:
    for number, result in enumerate(record["results"]):
        result["attack"] = result["attack"] if result["attack"] == "natural" else f"own{number}"
    assert is_adaptive_suite(Record.model_validate(record))


@pytest.mark.parametrize(("protocol", "enough"), [("eot:19", False), ("eot:20", True), ("eot:50", True)])
def test_the_attacker_averages_over_at_least_twenty_paths(protocol: str, enough: bool) -> None:
    record = read_record(RESULTS / "bn+in.json").content()
    for result in record["results"]:
        result["protocol"] = result["protocol"].replace("eot:20", protocol)
    assert is_adaptive_suite(Record.model_validate(record)) == enough
