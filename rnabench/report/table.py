"""Tables of records: data frames and CSV for machines, Markdown and screen for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rnabench.errors import RnabenchError
from rnabench.report.methods import method_rows, shown_accuracy
from rnabench.report.origin import origin_lines
from rnabench.report.record import Record
from rnabench.report.record_file import reading, records_in
from rnabench.report.scores import rows
from rnabench.report.stochasticity import sentences
from rnabench.report.table_files import csv_text, markdown_table, write_markdown
from rnabench.report.verdict import sanity_lines, verdicts
from rnabench.runtime.files import write_text
from rnabench.settings.pixels import in_255ths

HEADINGS = ("model", "attack", "protocol", "accuracy %", "95 % interval", "worst", "majority", "reported", "median L2",
            "draws")
TEXT_COLUMNS = 3


def read_results(folder: str | Path) -> pd.DataFrame:
    """Every accuracy of the records in a folder and below it (or in one file), a row per model, attack and protocol.

    Columns: `file`, within the folder; `model`, `attack`, `protocol`; `accuracy`, the mean over images and draws, with
    the ends `low95` and `high95` of its 95 % interval; `worst_of_draws`, `majority`, `attack_reported`: all shares in
    [0, 1]; `median_l2` of attacks that know no eps; `draws`, and what one serves, `draws_are`; `unreliable`: a sanity
    check that concerns the row failed; `few_paths`: how many paths its interval rests on, if too few; `eps` in [0, 1];
    `images`, `dataset`, `threat` (the norm), `digest` of the record, `method` and `training_seed` of the network. The
    attack `worst case of ...` is over those that average over paths.

    Raises RnabenchError for a record that is damaged, and where there is none.
    """
    place = Path(folder)
    found = []
    for file, record in records_in(place):
        with reading(file):
            found += [{"file": str(file.relative_to(place)) if file != place else file.name} | row
                      for row in rows([record])]
    if not found:
        raise RnabenchError(f"folder: {str(place)!r} has no records; expected a folder with JSON written by `rnabench "
                            "reproduce` or `rnabench attack`")
    return pd.DataFrame(found).astype({"median_l2": float, "few_paths": "Int64", "training_seed": "Int64"})


def display(records: Sequence[Record]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """What people read: headings, and one tuple per row; percentages with one decimal, `!` after unreliable ones.

    Several trainings of a method share a row: means, and after ± the standard deviation over trainings.
    """
    shown: list[tuple[str, ...]] = []
    for row in method_rows(records):
        draws = row["draws"] if row["draws_are"] == "-" else f"{row['draws']}/{row['draws_are']}"
        single = row["draws"] == 1
        alone = row["sd"] is None
        shown.append((
            row["model"], row["attack"], row["protocol"],
            percent(row["accuracy"]) + ("!" if row["unreliable"] else "") if alone else shown_accuracy(row),
            f"{percent(row['low95'])} - {percent(row['high95'])}{few(row)}" if alone else "-",
            "-" if single else percent(row["worst_of_draws"]),
            "-" if single else percent(row["majority"]),
            "-" if row["attack"] == "natural" else percent(row["attack_reported"]),
            "-" if row["median_l2"] is None else f"{row['median_l2']:.3f}",
            str(draws),
        ))
    kept = [place for place, heading in enumerate(HEADINGS)
            if heading != "median L2" or any(row[place] != "-" for row in shown)]
    return tuple(HEADINGS[place] for place in kept), [tuple(row[place] for place in kept) for row in shown]


def few(row: Mapping[str, Any]) -> str:
    """What marks a cell whose images shared so few paths that its interval says little."""
    if not row["few_paths"]:
        return ""
    return f" ({row['few_paths']} path{'s' if row['few_paths'] > 1 else ''})"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def caption(records: Sequence[Record]) -> str:
    """The settings that all rows share, in a sentence."""
    first = records[0]
    threat = first.threat
    length = in_255ths if threat.norm == "Linf" else "{:.4g}".format
    return (f"{first.data.name}, {len(first.data.indices):,} test images, {threat.norm} eps {length(threat.eps)}, "
            f"step {length(threat.step_size)}, seed {first.evaluation.seed}{_fewer(records)}{_batches(records)}")


def _batches(records: Sequence[Record]) -> str:
    """Whose predictions depend on batch mates, and how large the batches were, as the end of a sentence."""
    sizes: dict[int | None, list[str]] = {}
    for record in records:
        if record.model.batch_dependent:
            sizes.setdefault(record.evaluation.batch_size, []).append(record.label)
    return "".join(f"; predictions of {', '.join(labels)} depend on batch mates: batches of {size}"
                   for size, labels in sizes.items())


def _fewer(records: Sequence[Record]) -> str:
    """Which attacks were run on fewer images, as the end of a sentence."""
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        for result in record.results:
            counts.setdefault(result.attack, {})[result.protocol] = result.images
    total, found = len(records[0].data.indices), dict[int, list[str]]()
    for attack, protocols in counts.items():
        everywhere = len(set(protocols.values())) == 1
        for protocol, count in protocols.items():
            if count < total:
                found.setdefault(count, []).append(attack if everywhere else f"{attack} / {protocol}")
    return "".join(f"; {', '.join(dict.fromkeys(names))}: the first {count:,}"
                   for count, names in sorted(found.items()))


def markdown(records: Sequence[Record], title: str, said: Sequence[str] = ()) -> str:
    """The table with its caption, what it says (`said`: of claims), its sanity checks and what the columns mean."""
    headings, shown = display(records)
    table = markdown_table(shown, headings, TEXT_COLUMNS)
    parts = [f"# {title}", caption(records) + ".", table, *origin_lines(records), *said, *verdicts(records),
             *sentences(records)]
    if checks := sanity_lines(records):
        parts.append("Sanity checks:\n\n" + "\n".join(f"- {line}" for line in checks))
    return "\n\n".join([*parts, legend(records)]) + "\n"


def legend(records: Sequence[Record]) -> str:
    """What the columns mean, as far as they are there."""
    parts = [LEGEND]
    if any(row["sd"] is not None for row in method_rows(records)):
        parts.append(SEVERAL)
    if len(verdicts(records)) > 1:
        parts.append(CORRECTED)
    if any(not result.bounded for record in records for result in record.results):
        parts.append(UNBOUNDED)
    if any(record.unreliable for record in records):
        parts.append("**!**: a sanity check that concerns the row failed; do not rely on it.")
    if any(record.model.batch_dependent for record in records):
        parts.append(MATES)
    if apart := dict.fromkeys(result.attack for record in records if record.model.batch_dependent
                              for result in record.results if result.parameters.get("backend", "native") != "native"):
        parts.append(f"{', '.join(apart)}: by a library, which attacks parts of a batch: it saw other batches than the "
                     "whole ones that score what it delivers.")
    if any(record.evaluation.cumulative for record in records):
        parts.append("Attacks are **cumulative**: each sees only the images that no earlier one broke, and its row "
                     "counts those broken before as broken.")
    return " ".join(parts)


LEGEND = """\
**accuracy**: mean over images and path draws. **95 % interval**: counts images and draws as samples. **worst**: images
that are right on every draw. **majority**: the most frequent prediction is right. **reported**: accuracy on a path of
the attacker's own, its frozen one or, where it has none, one more draw. **draws**: how many score, and whether a draw
serves a group of images (group), as it serves a batch in the paper, or a single one (sample); an interval that ends
in `(n paths)` rests on so few groups that it says little. **protocol**: `paper` attacks one frozen path and predicts
with others; `same-path` predicts with the attacked path; `eot:K` averages the gradient over K fresh paths at every
step; `any`: nothing is random, or nothing attacks, so all protocols agree. **worst case**: every image meets the
bounded attack that is worst for it, chosen by its accuracy over draws (on one half of the draws, scored on the
other)."""
MATES = """\
**Batch mates**: where predictions depend on them, batches are attacked and scored whole, in the test set's order (the
last may be smaller), a draw serves a batch (batch), and the numbers are those of this batch size alone."""
SEVERAL = """\
**Trainings**: a row of several is the mean over them, and after ± stands the standard deviation over trainings, which
differ in their seed; table.csv has every training with its interval."""
CORRECTED = """\
The verdicts share one error rate of 5 % (Holm): one may be open although its own 95 % interval leaves out zero."""
UNBOUNDED = """\
**median L2**: attacks that know no eps; the Euclidean change of the images that had to be moved and are misclassified
on the attacker's path. They are no part of the worst case."""


def write_tables(records: Sequence[Record], folder: Path, title: str, said: Sequence[str] = ()) -> None:
    """Write `table.csv` and `table.md`, with the sentences `said` below the table."""
    write_text(folder / "table.csv", csv_text(rows(records)))
    write_markdown(folder / "table.md", markdown(records, title, said))
