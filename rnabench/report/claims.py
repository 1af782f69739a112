"""What the paper says of the order of its rows, held against records: shown, not shown, or the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnabench.evaluation.interval import difference_interval
from rnabench.evaluation.outcome import Outcome
from rnabench.recipe_file import Claim
from rnabench.report.record import outcome_of

ENDS = ("shown", "not shown", "the other way round")


@dataclass(frozen=True)
class Comparison:
    """How much higher the one model's accuracy is than the other's on the same images, with the 95 % interval."""

    other: str
    gap: float
    low: float
    high: float

    @property
    def end(self) -> str:
        return "shown" if self.low > 0 else "the other way round" if self.high < 0 else "not shown"


def comparisons(claim: Claim, records: Sequence[dict[str, Any]]) -> dict[str, list[Comparison]]:
    """By protocol, the model that is said to be more robust against each of the others that were attacked alike."""
    by_name = {record["model"]["label"]: _outcomes(record, claim.attack) for record in records}
    best, found = by_name.get(claim.higher, {}), {}
    protocols = [name for name in dict.fromkeys(name for each in by_name.values() for name in each)
                 if name == "paper" or name.startswith("eot:")]
    for protocol in protocols or ["any"]:
        mine = best.get(protocol, best.get("any"))
        made = []
        for name in claim.lower:
            theirs = by_name.get(name, {})
            if mine is not None and (other := theirs.get(protocol, theirs.get("any"))) is not None:
                made.append(_compared(mine, name, other))
        if made:
            found[protocol] = made
    return found


def _outcomes(record: dict[str, Any], attack: str) -> dict[str, Outcome]:
    return {result["protocol"]: outcome_of(result, record["evaluation"]["batch_size"])
            for result in record["results"] if result["attack"] == attack}


def _compared(mine: Outcome, name: str, theirs: Outcome) -> Comparison:
    shared = min(len(mine.correct), len(theirs.correct))
    one, other = mine.first(shared), theirs.first(shared)
    batches = one.batches if one.batches is not None else other.batches
    return Comparison(name, *difference_interval(one.correct, other.correct, batches))


def sentences(claims: Sequence[Claim], records: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence per claim that these records can speak to."""
    found = []
    for claim in claims:
        said = []
        for protocol, made in comparisons(claim, records).items():
            ends = {end: [each for each in made if each.end == end] for end in ENDS}
            parts = [f"{end} against {', '.join(map(_shown, ends[end]))}" for end in ENDS if ends[end]]
            said.append(f"under `{protocol}` {'; '.join(parts)}")
        if said:
            found.append(f"The paper: {claim.says}. Here {claim.higher}, {claim.attack}, points with 95 % intervals: "
                         f"{'. And '.join(said)}.")
    return found


def _shown(each: Comparison) -> str:
    return f"{each.other} {100 * each.gap:+.1f} [{100 * each.low:+.1f}, {100 * each.high:+.1f}]"
