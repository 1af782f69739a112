"""A table like the paper's: a row per model, the paper's columns with its numbers beside, then the adaptive ones."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from rnabench.errors import InvalidValue
from rnabench.reference import number, paper_of, published
from rnabench.reference.papers import Paper
from rnabench.report.claims import claims_of
from rnabench.report.measured import GAIN, NONE, WORST, Measured
from rnabench.report.methods import methods
from rnabench.report.origin import origin_lines
from rnabench.report.published import is_row, published_numbers, row_title
from rnabench.report.record import Record
from rnabench.report.table import caption
from rnabench.report.table_files import csv_text, markdown_table, write_markdown
from rnabench.report.verdict import verdicts
from rnabench.runtime.files import write_text
from rnabench.settings.attacks import parse_attack
from rnabench.settings.parts import with_parts
from rnabench.settings.recipe import Defined, Recipe


@dataclass(frozen=True)
class ComparisonTable:
    """`headings` of the columns after the model's name; `lines` (name, cells) in the order of the table; `notes` say
    where a column of the paper's holds an attack with other parameters."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()


def comparison(records: Sequence[Record], table: str, models: Mapping[str, Defined]) -> ComparisonTable:
    """The models of `records` beside the rows of the paper's `table` that `models` say they are; rows of the paper that
    were not measured come last."""
    everything, paper = published(table), paper_of(table)
    columns = list(dict.fromkeys(row["column"] for row in everything))
    instead = {column: run for column in columns if (run := _run_for(column, columns, records, paper))}
    here = {column: column.replace(*instead[column]) if column in instead else column for column in columns}
    measured = Measured(records, models, paper.protocol)
    shown = {*columns, *here.values()}
    others = [column for column in measured.other_columns() if column not in shown]
    attacks = measured.attacks()
    if not any(_attack_in(column) in attacks for column in here.values()):
        others = [*attacks, *others]  # none of the paper's was run, so those that were have columns of their own
    lines = []
    for method in methods(records):
        theirs = published_numbers(table, models[method.name]) if method.name in models else {}
        lines.append((method.title, (
            *(_beside(measured.cell(method, here[column]), theirs.get(column)) for column in columns),
            *(measured.cell(method, column) for column in others))))
    defined = [models[method.name] for method in methods(records) if method.name in models]
    not_run: dict[str, dict[str, float | None]] = {}
    for row in everything:
        if not any(is_row(row, model) for model in defined):
            not_run.setdefault(row_title(row), {}).setdefault(row["column"], number(row))
    for title, numbers in not_run.items():
        lines.append((title, (*(_beside(NONE, numbers.get(column)) for column in columns), *(NONE for _ in others))))
    headings = [column if here[column] == column else f"{column} (here {here[column]})" for column in columns]
    notes = [_note(column, *attacks, records, paper) for column, attacks in instead.items()]
    return ComparisonTable((*headings, *others), tuple(lines), tuple(notes))


def _run_for(column: str, columns: Sequence[str], records: Sequence[Record], paper: Paper) -> tuple[str, str] | None:
    """The attack of a column of the paper's that was not run, and the one that stands in its place: the only one of its
    kind, at its eps, that was. None if there is no such pair."""
    attack = _attack_in(column)
    if attack is None:
        return None
    protocols = (paper.protocol, "any", column.rpartition(" ")[2])
    run = {result.attack: result.parameters for record in records for result in record.results
           if result.protocol in protocols}
    spec, taken = parse_attack(attack), {_attack_in(other) for other in columns}
    alike = [] if attack in run else [
        name for name, parameters in run.items() if parameters.get("kind") == spec.kind and name not in taken
        and (spec.eps is None or abs(parameters.get("eps", -1) - spec.eps) < 1e-9)]
    return (attack, alike[0]) if len(alike) == 1 else None


def _attack_in(column: str) -> str | None:
    """The attack that a column is about; None of natural accuracy, and of what is measured without an attack."""
    name = column.removeprefix(GAIN).partition(" ")[0]
    with suppress(InvalidValue):
        return parse_attack(name).name
    return None


def _note(column: str, attack: str, name: str, records: Sequence[Record], paper: Paper) -> str:
    parameters = next(result.parameters for record in records for result in record.results if result.attack == name)
    theirs = paper.stated.get(attack) or parse_attack(attack).parameters.model_dump(exclude_none=True)
    differences = [f"{key} {parameters.get(key)}, the paper's {value}" for key, value in theirs.items()
                   if parameters.get(key) != value]
    return f"The column {column} holds {name} here ({'; '.join(differences) or 'the same parameters'})."


def _beside(measured: str, theirs: float | None) -> str:
    if theirs is None:
        return measured
    return f"{measured} (paper {theirs:.2f})" if round(theirs, 2) == theirs else f"{measured} (paper {theirs:g})"


def write_comparison(records: Sequence[Record], recipe: Recipe, folder: Path) -> None:
    """Write `paper.csv`, `paper.md` and `paper.tex` for a recipe with a `published` table; without records, what the
    paper states beside the recipe's figures."""
    assert recipe.published is not None
    paper, found = paper_of(recipe.published), comparison(records, recipe.published, recipe.defined)
    table = pd.DataFrame([[name, *cells] for name, cells in found.lines], columns=["model", *found.headings])
    said = [*origin_lines(records), _scale(recipe, records, paper), *found.notes,
            *claims_of(recipe, records), *verdicts(records)]
    several = any(len(method.records) > 1 for method in methods(records))
    legend = _legend(found.headings, paper, several, len(said) > 1) if records else SCALE.format(
        first=paper.first, scale=paper.scale)
    write_text(folder / "paper.csv", csv_text(table))
    write_markdown(folder / "paper.md", "\n\n".join([
        f"# {recipe.heading}, beside {paper.called}'s",
        markdown_table(table.values.tolist(), list(table.columns), text_columns=1),
        *said, legend]) + "\n")
    tex = tabulate(table.values.tolist(), headers=list(table.columns), tablefmt="latex_booktabs", disable_numparse=True,
                   colalign=("left",) + ("right",) * len(found.headings))
    comments = "\n".join(f"% {line}" for line in [recipe.heading, *said])
    write_text(folder / "paper.tex", comments + "\n" + tex.replace("±", r"$\pm$") + "\n")


def _scale(recipe: Recipe, records: Sequence[Record], paper: Paper) -> str:
    profile = f"Profile {recipe.profile}: {recipe.summary}. " if recipe.profile else ""
    if not records:
        return f"{profile}No row of it is run here; what is measured beside it stands in {', '.join(recipe.figures)}."
    networks = ", ".join(dict.fromkeys(with_parts(f"{record.model.arch} width {record.model.width}", dict(record.model))
                                       if record.model.arch else f"{record.label} (imported)" for record in records))
    here = list(dict.fromkeys(record.data.name for record in records))
    rows = published(str(recipe.published))
    theirs = [row["dataset"] for row in rows if any(is_row(row, model) for model in recipe.defined.values())] or [
        row["dataset"] for row in rows]
    other = "" if set(here) <= set(theirs) else (
        f" Measured on {', '.join(here)} and not, as {paper.called}'s numbers, on {', '.join(dict.fromkeys(theirs))}: "
        "compare the order of the rows, not the numbers.")
    return f"{profile}{networks}; {caption(records)}.{other}"


def _legend(headings: Iterable[str], paper: Paper, several: bool, said: bool) -> str:
    worst = WORST_LEGEND if any(heading.startswith(WORST) for heading in headings) else ""
    gain = GAIN_LEGEND if any(heading.startswith(GAIN) for heading in headings) else ""
    text = (LEGEND + SCALE).format(after=SEVERAL if several else ONE, worst=worst, gain=gain, called=paper.called,
                                   columns=paper.columns, first=paper.first, scale=paper.scale)
    return textwrap.fill(f"{text} {SAID}" if said else text, 120, break_on_hyphens=False)


LEGEND = """\
Accuracy in percent, `measured ± {after}, and {called}'s number. {columns} {gain}{worst}**!**: a sanity check that
concerns the number failed; do not rely on it. """
SCALE = "{first}'s numbers are of {scale}."
ONE = "half of the 95 % interval` (its larger half), which counts images and path draws as samples"
SEVERAL = """\
...`: in rows of several trainings, which differ in their seed, the mean ± the standard deviation over them; in others
half of the 95 % interval (its larger half), which counts images and path draws as samples"""
SAID = """\
Claims and verdicts over several trainings are about the method, with trainings, images and draws as samples; those of
one training each are about these networks only. All comparisons of the claims share one error rate of 5 %, and so do
the verdicts (Holm): one may be not shown although its own 95 % interval leaves out zero. `seen from`: the smallest
difference that is shown in 80 % of such experiments."""
WORST_LEGEND = ("**worst case**: every image meets the averaging attack that is worst for it (of a network with a "
                "single path: the bounded attack). ")
GAIN_LEGEND = ("**gain**: how much more accuracy a network keeps than the same one with its own statistics, in percent "
               "of that. ")
