"""What follows from a record's outcomes: sanity flags, the worst case over attacks, and the rows of the table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from rnabench.report.record import Baseline, Record, Result, SanityFlag, WorstCase
from rnabench.scoring.flag import Row
from rnabench.scoring.headline import Headline, worst_case
from rnabench.scoring.sanity import judge
from rnabench.settings.attacks import parse_attack, resolved
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.suites import SUITES


def judged(record: Record, baseline: Record | None = None) -> Record:
    """The record with its sanity flags, and what follows from them, beside `baseline`, the deterministic model's."""
    flags = judge(_sanity_rows(record), record.sanity.diagnosis.content(), len(record.data.classes), record.threat.eps,
                  record.model.randomised, _sanity_rows(baseline) if baseline else (), record.evaluation.cumulative)
    failed = [flag for flag in flags if flag.status == "FAIL"]
    everything = any(not flag.rows for flag in failed)
    rows = {row for flag in failed for row in flag.rows}
    results = [result.model_copy(update={"unreliable": result.attack != "natural" and (
        everything or (result.attack, result.protocol) in rows)}) for result in record.results]
    kept = [SanityFlag(**asdict(flag) | {"rows": list(map(list, flag.rows)), "name": flag.name}) for flag in flags]
    return record.model_copy(update={
        "unreliable": bool(failed), "headline": stated_headline(record), "results": results,
        "sanity": record.sanity.model_copy(update={"flags": kept}),
        **({"baseline": Baseline(digest=baseline.digest, label=baseline.label)} if baseline else {})})


def _sanity_rows(record: Record) -> list[Row]:
    return [Row(record.outcome(result), result.parameters) for result in record.cells]


def averaging(record: Record) -> list[Result]:
    """The results that the headline rests on: bounded attacks at the evaluation's eps that average over paths (all
    bounded ones, for a deterministic model)."""
    return [
        result for result in record.results
        if result.bounded and result.attack != "natural" and result.parameters["backend"] != "torchattacks"
        and result.parameters["eps"] == record.threat.eps
        and (result.protocol.startswith("eot:") or not record.model.randomised)
    ]


def headline(record: Record, attacks: Collection[str] | None = None) -> Headline | None:
    """The worst case over these (over those named in `attacks`), on the images that all of them saw."""
    outcomes = [record.outcome(result) for result in averaging(record) if attacks is None or result.attack in attacks]
    shared = min((len(outcome.correct) for outcome in outcomes), default=0)
    return worst_case([outcome.first(shared) for outcome in outcomes])


def stated_headline(record: Record) -> WorstCase | None:
    """The worst case as a record states it."""
    if (worst := headline(record)) is None:
        return None
    return WorstCase(
        attacks=list(worst.attacks), accuracy=worst.outcome.accuracy, interval95=list(worst.outcome.interval),
        worst_of_draws=worst.worst, majority=float(worst.outcome.majority.mean()),
        attack_reported=float(worst.outcome.reported.mean()), adaptive_suite=is_adaptive_suite(record))


def contradiction(record: Record) -> str | None:
    """A stated number of the worst case that does not follow from the record's own outcomes, in words; None if all do.

    That the numbers of its cells follow, its type sees to.
    """
    if record.headline is None:
        return None
    if (follows := stated_headline(record)) is None:
        return "it states a worst case, and none of its attacks makes one"
    for number in ("accuracy", "worst_of_draws", "majority", "attack_reported"):
        said, found = getattr(record.headline, number), getattr(follows, number)
        if abs(said - found) > 1e-9:
            return f"{number} of worst case is {100 * said:.1f} %, and its outcomes come to {100 * found:.1f} %"
    return None


def is_adaptive_suite(record: Record) -> bool:
    """Whether every attack of the built-in suite `adaptive` was run with just its parameters (whatever its name), and
    averaged over at least as many paths; a deterministic model has none."""
    threat, suite = record.threat, SUITES["adaptive"]
    fewest = min(parse_protocol(protocol).samples for protocol in suite.protocols)
    run = [result.parameters for result in averaging(record)
           if not record.model.randomised or _averages(result.protocol, fewest)]
    wanted = [resolved(parse_attack(attack), threat.eps, threat.step_size) for attack in suite.attacks]
    return all(any(settings.items() <= parameters.items() for parameters in run) for settings in wanted)


def _averages(name: str, fewest: int) -> bool:
    protocol = parse_protocol(name)
    return protocol.samples >= fewest and protocol.average == "losses"


def rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row per model, attack and protocol: the columns of `table.csv`, unrounded, and each model's worst case."""
    return [row for record in records for row in _rows(record)]


def _rows(record: Record) -> list[dict[str, Any]]:
    shared = {"dataset": record.data.name, "threat": record.threat.norm, "digest": record.digest,
              "method": record.method, "training_seed": record.model.training_seed}
    found = [{"model": record.label, "attack": result.attack, "protocol": result.protocol, **_shares(result),
              "median_l2": result.median_l2, "draws": result.draws, "draws_are": result.draws_are,
              "unreliable": result.unreliable, "few_paths": record.outcome(result).few_paths,
              "eps": result.parameters.get("eps", record.threat.eps),
              "images": result.images, **shared} for result in record.results]
    if (best := record.headline) is not None and len(best.attacks) > 1:
        over = averaging(record)
        found.append({
            "model": record.label, "attack": f"worst case of {len(best.attacks)}",
            "protocol": "+".join(dict.fromkeys(result.protocol for result in over)), **_shares(best),
            "median_l2": None, "draws": over[-1].draws, "draws_are": over[-1].draws_are,
            "unreliable": any(result.unreliable for result in over),
            "few_paths": record.outcome(over[-1]).few_paths, "eps": record.threat.eps,
            "images": min(result.images for result in over), **shared})
    return found


def _shares(scored: Result | WorstCase) -> dict[str, float]:
    return {"accuracy": scored.accuracy, "low95": scored.interval95[0], "high95": scored.interval95[1],
            "worst_of_draws": scored.worst_of_draws, "majority": scored.majority,
            "attack_reported": scored.attack_reported}
