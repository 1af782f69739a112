"""The leaderboard that the page opens with: one row for every attacked network, by data set and threat model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnabench.report.page.contents import ResultFolder
from rnabench.report.page.view import Section
from rnabench.report.paper_table import read_paper_table
from rnabench.report.standing import Measured, Standing, network_text, standings
from rnabench.report.table import percent

NONE = "-"


@dataclass(frozen=True)
class Column:
    """`meaning`: what its numbers are, in the legend."""

    heading: str
    numeric: bool
    meaning: str


COLUMNS = (
    Column("defence", False, "the model of a recipe, or the network as it was named; beneath, what it is"),
    Column("natural %", True, "accuracy without an attack"),
    Column("paper's protocol %", True, "what the worst bounded attack leaves that freezes one path; others predict"),
    Column("adaptive worst case %", True, "what is left where every image meets the attack that is worst for it, of "
           "those that average over paths: the number to rely on. Rows compare where the same stands beneath: a "
           "deterministic network meets all attacks of its recipe here, and a random one may have met fewer"),
    Column("above its baseline", True, "a random network's worst case less that of its recipe's deterministic baseline "
           "where both meet the same attacks on the same images, in points, with a 95 % interval. Randomness "
           "alone is worth that only where both were trained alike. They are told apart at an error rate of 5 % for "
           "all comparisons of the recipe"),
    Column("after all tries %", True, "images that stay right under all these attacks on every draw: what an attacker "
           "leaves who may try that often; of a deterministic network tries change nothing"),
    Column("cost", True, "millions of parameters, and how many forward passes a prediction takes"),
    Column("checks failed", True, "sanity checks that failed, of all that were made"),
    Column("trainings", True, "networks that were trained anew, with other seeds; of several, numbers are means, and ± "
           "is the standard deviation over them, else half of the 95 % interval"),
    Column("published %", True, "the least that the paper states under a bounded attack of this eps, of a full-size "
           "network"),
    Column("recipe", False, "where all numbers of the network stand"),
)


@dataclass(frozen=True)
class Cell:
    """`text` is what a column is sorted by, `-` where nothing was measured; `note`, beneath it, says of what it is, or
    why there is nothing."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One attacked network. `marks` are words and the class of each; `section` is the id of its recipe's."""

    name: str
    network: str
    marks: tuple[tuple[str, str], ...]
    cells: tuple[Cell, ...]
    section: str
    recipe: str
    folder: str


@dataclass(frozen=True)
class Group:
    """The networks that were attacked on one data set under one threat model."""

    title: str
    rows: tuple[Row, ...]


def leaderboard(folders: Sequence[ResultFolder], sections: Sequence[Section]) -> tuple[Group, ...]:
    """All attacked networks of the folders, whose sections these are: the setting with the most networks first, and in
    each the highest adaptive worst case. What is unreliable or was not measured comes last."""
    by_setting: dict[str, list[tuple[Standing, Section]]] = {}
    for folder, section in zip(folders, sections, strict=True):
        for standing in standings(list(folder.records.values()), read_paper_table(folder.path)):
            by_setting.setdefault(standing.setting, []).append((standing, section))
    ordered = sorted(by_setting.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Group(title, tuple(_row(*each) for each in sorted(entries, key=lambda entry: _order(entry[0]))))
                 for title, entries in ordered)


def _order(standing: Standing) -> tuple[bool, float]:
    found = standing.adaptive
    if isinstance(found, str):
        return True, 2.0
    return found.unreliable, -found.accuracy


def _row(standing: Standing, section: Section) -> Row:
    cells = (
        _score(standing, standing.natural), _score(standing, standing.paper), _score(standing, standing.adaptive),
        _beside(standing), _after_tries(standing), _cost(standing), _checks(standing), Cell(str(standing.trainings)),
        _published(standing))
    return Row(standing.method.name, network_text(standing.network), _marks(standing), cells, section.id, section.title,
               section.name)


def _marks(standing: Standing) -> tuple[tuple[str, str], ...]:
    kind = [] if standing.network.randomised else [("deterministic baseline" if standing.is_baseline else
                                                    "deterministic", "")]
    return (*kind, *([("unreliable", "FAIL")] if standing.unreliable else []),
            *([("stale", "WARN")] if standing.stale else []))


def _score(standing: Standing, found: Measured) -> Cell:
    """A score, with what left it, and on how many images if not on as many as the natural accuracy."""
    if isinstance(found, str):
        return Cell(NONE, found)
    natural = standing.natural
    said = [] if found.attack == "natural" else [
        found.attack, *([found.protocol] if found.protocol not in ("any", "paper") else [])]
    if found is natural or isinstance(natural, str) or found.images != natural.images:
        said.append(f"{found.images:,} images")
    return Cell(found.shown, ", ".join(said))


def _beside(standing: Standing) -> Cell:
    beside = standing.beside
    if beside is None:
        return Cell(NONE, "no deterministic baseline" if standing.network.randomised else "deterministic")
    if isinstance(beside.found, str):
        return Cell(NONE, standing.adaptive if isinstance(standing.adaptive, str) else beside.found)
    found, both = beside.found, (beside.method, beside.baseline)
    low, high = found.difference.interval()
    firsts = any(count < len(method.records) for count, method in zip(found.trainings, both, strict=True))
    of = f"first trainings, {100 * found.first:.1f} and " if firsts else ""
    doubtful = any(record.unreliable for method in both for record in method.records)
    return Cell(f"{100 * found.difference.gap:+.1f}{'!' * doubtful}",
                f"{of}{beside.baseline.name} {100 * found.second:.1f}; {100 * low:+.1f} to {100 * high:+.1f}"
                f"{'' if beside.told_apart else ': not told apart'}")


def _after_tries(standing: Standing) -> Cell:
    adaptive = standing.adaptive
    if standing.after_tries is None or isinstance(adaptive, str):
        return Cell(NONE, str(adaptive))
    if standing.network.randomised and adaptive.draws < 2:
        return Cell(NONE, "one draw alone")
    return Cell(percent(standing.after_tries) + "!" * adaptive.unreliable,
                f"{adaptive.draws} tries" if standing.network.randomised else "any number")


def _cost(standing: Standing) -> Cell:
    passes = standing.forward_passes
    said = f"{passes} pass{'es' if passes > 1 else ''}"
    count = standing.network.parameters
    return Cell(NONE, f"parameters not recorded; {said}") if count is None else Cell(f"{count / 1e6:.2f} M", said)


def _checks(standing: Standing) -> Cell:
    checks = standing.checks
    if not any(checks.values()):
        return Cell(NONE, "none was made")
    return Cell(f"{checks['FAIL']} of {sum(checks.values())}" + "!" * (checks["FAIL"] > 0),
                f"{checks['WARN']} WARN" if checks["WARN"] else "")


def _published(standing: Standing) -> Cell:
    stated = standing.published
    if stated is None:
        return Cell(NONE, "none for it")
    natural = "" if stated.natural is None else f"; natural {stated.natural:.2f}"
    return Cell(f"{stated.accuracy:.2f}", f"{stated.attack}{natural}")
