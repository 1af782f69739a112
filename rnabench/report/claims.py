"""Claims on the order of a table's rows, compared with records: shown, not shown, or the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rnabench.reference import paper_of
from rnabench.report.methods import Method, methods
from rnabench.report.record import Record
from rnabench.scoring.outcome import Outcome
from rnabench.scoring.significance import ERROR_RATE, holm
from rnabench.scoring.trainings import Compared, compare
from rnabench.settings.recipe import Claim, Recipe

HERE = "Here"  # begins what comes out of a claim, before the name of the model that it is about
ENDS = ("shown", "not shown", "the other way round")
PROTOCOLS = ("paper", "resample")  # under which papers state their orders; and under eot:K, which we ask for


@dataclass(frozen=True)
class Contrast:
    """How much higher a method's accuracy is than the `other`'s under a protocol, on the same images.

    `p_value` is corrected for all `tests` comparisons of the table's claims; the interval is not.
    """

    other: str
    protocol: str
    found: Compared
    p_value: float
    tests: int = 1

    @property
    def end(self) -> str:
        if self.p_value >= ERROR_RATE:
            return "not shown"
        return "shown" if self.found.difference.gap > 0 else "the other way round"

    @property
    def seen_from(self) -> float:
        """The smallest difference that would be shown in 80 % of such experiments, even if no other test shows one."""
        return self.found.difference.detectable(0.8, 1 - ERROR_RATE / self.tests)


@dataclass(frozen=True)
class Answer:
    """What the records say of a claim; `open`: sentences on what cannot be compared."""

    claim: Claim
    made: tuple[Contrast, ...]
    open: tuple[str, ...] = ()


def answers(claims: Sequence[Claim], records: Sequence[Record]) -> list[Answer]:
    """By claim, contrasts of the method that is claimed to be more robust with all that it can be compared to."""
    by_name = {method.name: method for method in methods(records)}
    found = [_answer(claim, by_name) for claim in claims]
    corrected = iter(holm([each.p_value for answer in found for each in answer.made]))
    tests = sum(len(answer.made) for answer in found)
    return [replace(answer, made=tuple(replace(each, p_value=next(corrected), tests=tests) for each in answer.made))
            for answer in found]


def _answer(claim: Claim, by_name: dict[str, Method]) -> Answer:
    best, made, why_not = by_name.get(claim.higher), list[Contrast](), list[str]()
    for other in (by_name[name] for name in claim.lower if name in by_name):
        if best is not None and (sentence := best.not_comparable(other)) is not None:
            why_not.append(sentence)
        elif best is not None:
            made += _compared(best, other, claim.attack)
    protocols = list(dict.fromkeys(each.protocol for each in made))
    return Answer(claim, tuple(sorted(made, key=lambda each: protocols.index(each.protocol))), tuple(why_not))


def _compared(best: Method, other: Method, attack: str) -> Iterator[Contrast]:
    """A contrast under every protocol of either; a deterministic network has the same number under all protocols."""
    ours, theirs = _outcomes(best, attack), _outcomes(other, attack)
    named = [name for name in dict.fromkeys((*ours, *theirs)) if name in PROTOCOLS or name.startswith("eot:")]
    for protocol in named or ["any"]:
        first, second = (each.get(protocol, each.get("any")) for each in (ours, theirs))
        if first and second:
            found = compare(first, second)
            yield Contrast(other.name, protocol, found, found.difference.p_value)


def _outcomes(method: Method, attack: str) -> dict[str, list[Outcome]]:
    """By protocol, the outcome of each training, where all trainings have one."""
    found: dict[str, list[Outcome]] = {}
    for record in method.records:
        for result in record.results:
            if result.attack == attack:
                found.setdefault(result.protocol, []).append(record.outcome(result))
    return {protocol: outcomes for protocol, outcomes in found.items() if len(outcomes) == len(method.records)}


def claims_of(recipe: Recipe, records: Sequence[Record]) -> list[str]:
    """What records say of a recipe's claims, which are those of the paper whose table it has, if it has one."""
    whose = paper_of(recipe.published).first if recipe.published else "Claimed"
    return sentences(recipe.claims, records, whose)


def sentences(claims: Sequence[Claim], records: Sequence[Record], whose: str = "The paper") -> list[str]:
    """A sentence per claim on which these records have something to say; `whose` claim it is."""
    return [f"{whose}: {said}" for answer in answers(claims, records) if (said := _sentence(answer))]


def is_about(sentence: str, model: str) -> bool:
    """Whether one of these sentences says what came out of a claim about a model."""
    return f" {HERE} {model}, " in sentence


def _sentence(answer: Answer) -> str:
    claim, made = answer.claim, answer.made
    if not made:
        return f"{claim.says}. {' '.join(answer.open)}" if answer.open else ""
    bases = {each.found.basis for each in made}
    shared = f"{next(iter(bases))}, " if len(bases) == 1 else ""
    said = []
    for protocol in dict.fromkeys(each.protocol for each in made):
        under = [each for each in made if each.protocol == protocol]
        ends = {end: [_shown(each, not shared) for each in under if each.end == end] for end in ENDS}
        parts = [f"{end} against {', '.join(ends[end])}" for end in ENDS if ends[end]]
        said.append(f"under `{protocol}` {'; '.join(parts)}")
    told = f"{HERE} {claim.higher}, {claim.attack}, {shared}points with 95 % intervals: {'. And '.join(said)}."
    return " ".join([f"{claim.says}.", told, *answer.open])


def _shown(each: Contrast, with_basis: bool) -> str:
    low, high = each.found.difference.interval()
    remarks = [each.found.basis] if with_basis else []
    if each.end == "not shown":
        remarks.append(f"seen from {100 * each.seen_from:.1f}" if each.seen_from < 1 else "nothing would be seen")
    in_brackets = f" ({'; '.join(remarks)})" if remarks else ""
    return f"{each.other} {100 * each.found.difference.gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]{in_brackets}"
