"""A record's numbers beside those that its kept images have on other draws, or on another network: do they agree?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rnabench.report.change import BY_GROUP, BY_IMAGE, ByImage, Change
from rnabench.report.judgement import Judgement, judged
from rnabench.report.record import Record, Result
from rnabench.report.scores import averaging, headline
from rnabench.report.table import percent
from rnabench.report.table_files import csv_text, markdown_table, write_markdown
from rnabench.runtime.files import write_text
from rnabench.scoring.interval import Difference, difference
from rnabench.scoring.outcome import Outcome, fewest_groups

HEADINGS = ("attack", "protocol", "agrees", "judged by", "record %", "95 % interval", "rescored %", "its interval",
            "change", "flagged from")
TEXT_COLUMNS = 4


@dataclass(frozen=True)
class Rescored:
    """A cell of the record and what its images were scored as; `new` None: not scored, for the `reason`."""

    result: Result
    new: Outcome | None
    reason: str = ""


@dataclass(frozen=True)
class IndependentDraws:
    """Means over draws that are independent on both sides, of the same images: `found` is how far they are apart."""

    found: Difference
    rule: str
    smallest: float = 0.0

    @property
    def p(self) -> float:
        return self.found.p_value

    def needed(self, level: float) -> float:
        return self.found.margin(1 - level)


@dataclass(frozen=True)
class Rescoring:
    """All cells that were rescored: of the record's own network (`own`), or of another; `network` in words. `seed` and
    `draws` are those that the images were scored with; None where nothing is drawn."""

    record: Record
    cells: Sequence[Rescored]
    network: str
    own: bool
    seed: int
    draws: int | None

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row per cell, and one for the worst case if all that it rests on was rescored: the columns of
        rescored.csv, shares in [0, 1], not rounded; None where nothing was measured."""
        pairs = [(self.record.outcome(cell.result), cell.new, cell.reason) for cell in self.cells]
        pairs += self._worst_case()
        judgements = judged({("", *old.key): self._change(old, new) for old, new, _ in pairs if new is not None})
        return [self._row(old, new, reason, judgements.get(("", *old.key))) for old, new, reason in pairs]

    @property
    def failed(self) -> bool:
        """Whether a number of the record's does not hold on its own network."""
        return self.own and any(row["agrees"] is False for row in self.rows)

    def _change(self, old: Outcome, new: Outcome) -> Change:
        groups = fewest_groups([old.groups, new.groups])
        if new.correct.shape == old.correct.shape and (self._same_draws or groups is None):
            return ByImage(new, old)
        one, other = (side.correct.mean(1, keepdims=True) for side in (new, old))
        return IndependentDraws(difference(one, other, groups), BY_IMAGE if groups is None else BY_GROUP)

    def _worst_case(self) -> list[tuple[Outcome, Outcome, str]]:
        new = {(cell.result.attack, cell.result.protocol): cell.new for cell in self.cells if cell.new is not None}
        over = averaging(self.record)
        if len(over) < 2 or any((result.attack, result.protocol) not in new for result in over):
            return []
        results = [Result.of(new[result.attack, result.protocol], result.draws_are, result.parameters, result.bounded)
                   for result in over]
        then, now = headline(self.record), headline(self.record.model_copy(update={"results": results}))
        assert then is not None
        assert now is not None
        return [(then.outcome, now.outcome, "")]

    def _row(self, old: Outcome, new: Outcome | None, reason: str, judgement: Judgement | None) -> dict[str, Any]:
        row = {"attack": old.attack, "protocol": old.protocol, "images": len(old.correct), **_shares("record_", old),
               **_shares("", new)}
        if judgement is not None and judgement.flagged_from == math.inf:
            judgement, reason = None, "images that all share their draws say nothing of other draws"
        if new is None or judgement is None:
            change = None if new is None else new.accuracy - old.accuracy
            return row | {"change": change, "agrees": None, "p": None, "judged_by": "-", "flagged_from": None,
                          "reason": reason}
        return row | {"change": new.accuracy - old.accuracy, "agrees": not judgement.fails, "p": judgement.p,
                      "judged_by": judgement.rule, "flagged_from": judgement.flagged_from, "reason": reason}

    @property
    def heading(self) -> str:
        """What was rescored, on what."""
        draws = "" if self.draws is None else f", {self.draws} draws, seed {self.seed}"
        return f"Images kept of {self.record.label} on {self.record.data.name}, scored on {self.network}{draws}"

    @property
    def _same_draws(self) -> bool:
        return self.own and self.seed == self.record.evaluation.seed

    @property
    def summary(self) -> str:
        """What it comes to, in a sentence."""
        rows = self.rows
        scored = [row for row in rows if row["agrees"] is not None]
        apart = sum(not row["agrees"] for row in scored)
        said = f"{len(scored)} numbers rescored: {len(scored) - apart} agree with the record's, {apart} do not"
        return said if self.own else f"{said}; the record claims nothing of another network"

    def display(self) -> list[tuple[str, ...]]:
        """What people read, under HEADINGS."""
        return [_shown(row) for row in self.rows]

    def markdown(self) -> str:
        verdict = "" if not self.own else "**FAIL** " if self.failed else "**PASS** "
        table = markdown_table(self.display(), HEADINGS, TEXT_COLUMNS)
        reasons = "".join(f"\n{line}.\n" for line in self.reasons)
        return f"# {self.heading}\n\n{table}\n{reasons}\n{verdict}{self.summary}.\n"

    @property
    def reasons(self) -> list[str]:
        """Why what was not scored was not."""
        return [f"{row['attack']} / {row['protocol']}: {row['reason']}" for row in self.rows if row["reason"]]

    def write(self, folder: Path) -> None:
        """rescored.csv and rescored.md in `folder`. Raises RnabenchError where they cannot be written."""
        shared = {"model": self.record.label, "digest": self.record.digest, "network": self.network,
                  "own_network": self.own, "seed": self.seed}
        write_text(folder / "rescored.csv", csv_text([shared | row for row in self.rows]))
        write_markdown(folder / "rescored.md", self.markdown())


def _shares(prefix: str, outcome: Outcome | None) -> dict[str, Any]:
    names = [f"{prefix}{name}" for name in ("accuracy", "low95", "high95", "worst_of_draws", "draws")]
    if outcome is None:
        return dict.fromkeys(names)
    low, high = outcome.interval
    return dict(zip(names, (outcome.accuracy, low, high, outcome.worst, outcome.correct.shape[1]), strict=True))


def _shown(row: dict[str, Any]) -> tuple[str, ...]:
    agrees = "-" if row["agrees"] is None else "yes" if row["agrees"] else f"no (p {row['p']:.2g})"
    return (row["attack"], row["protocol"], agrees, row["judged_by"], *_interval(row, "record_"), *_interval(row, ""),
            "-" if row["change"] is None else f"{round(100 * row['change'], 1) + 0.0:+.1f}",
            "-" if row["flagged_from"] is None else f"±{percent(row['flagged_from'])}")


def _interval(row: dict[str, Any], prefix: str) -> tuple[str, str]:
    accuracy, low, high = (row[f"{prefix}{name}"] for name in ("accuracy", "low95", "high95"))
    return ("-", "-") if accuracy is None else (percent(accuracy), f"{percent(low)} - {percent(high)}")
