"""What the numbers say, in sentences: the randomised model against its baseline, and the sanity checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnabench.evaluation.interval import difference_interval
from rnabench.report.record import averaging, headline


def verdicts(records: Sequence[dict[str, Any]]) -> list[str]:
    """For each randomised model whose record names a baseline among `records`, which of the two is more robust."""
    by_digest = {record["digest"]: record for record in records}
    pairs = [(record, by_digest.get(record["baseline"]["digest"])) for record in records if "baseline" in record]
    return [verdict(record, baseline) for record, baseline in pairs if baseline and record["model"]["randomised"]]


def verdict(record: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Which is more robust under the adaptive suite (or what was run of it), with the difference on the same images."""
    attacks = {result["attack"] for result in averaging(record)}
    mine, theirs = headline(record), headline(baseline, attacks)  # both meet the same attacks
    name, other = record["model"]["label"], baseline["model"]["label"]
    if mine is None or headline(baseline) is None:
        return f"No attack that averages over paths was run: whether {name} or {other} is more robust stays open."
    if baseline["model"]["randomised"]:
        return f"{other} is randomised itself: it is no deterministic baseline of {name}."
    if record["data"]["fingerprint"] != baseline["data"]["fingerprint"]:
        return f"{name} and {other} were attacked on different images: they are not compared."
    lacking = attacks - {result["attack"] for result in averaging(baseline)}
    if record["threat"] != baseline["threat"] or lacking:
        return f"{name} and {other} were attacked in different ways (threat model or attacks): they are not compared."
    assert theirs is not None
    suite = ("the adaptive suite" if record["headline"]["adaptive_suite"] else
             f"the averaging attacks of suite {record['evaluation']['suite']} (not the adaptive suite)")
    shared = min(len(mine.outcome.correct), len(theirs.outcome.correct))
    ours, its = mine.outcome.first(shared), theirs.outcome.first(shared)
    gap, low, high = difference_interval(ours.correct, its.correct, ours.batches)
    numbers = (f"worst case {100 * ours.accuracy:.1f} % against {100 * its.accuracy:.1f} %, "
               f"{100 * gap:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    if low > 0:
        said = f"{name} is more robust than its deterministic baseline {other}"
    elif high < 0:
        said = f"{name} is less robust than its deterministic baseline {other}"
    else:
        said = f"{name} and its deterministic baseline {other} cannot be told apart"
    marred = [record["model"]["label"] for record in (record, baseline) if record["unreliable"]]
    warning = f" A sanity check of {' and of '.join(marred)} failed: see below." if marred else ""
    return f"Under {suite}, {said}: {numbers}.{warning}"


def sanity_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """One line per check and model; checks that do not apply are left out."""
    return [f"{flag['status']} {record['model']['label']} {flag['check']} {flag['name']}: {flag['text']}"
            for record in records for flag in record["sanity"]["flags"] if flag["status"] != "n/a"]
