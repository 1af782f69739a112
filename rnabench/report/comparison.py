"""A table like the paper's: a row per model, the paper's columns with its numbers beside, then the adaptive ones."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from rnabench.reference import published
from rnabench.report.claims import sentences
from rnabench.report.methods import method_rows, methods, shown_accuracy
from rnabench.report.origin import origin_lines
from rnabench.report.record import Record
from rnabench.report.study import ADVERSARIAL
from rnabench.report.table import caption
from rnabench.report.verdict import verdicts
from rnabench.runtime.files import write_text
from rnabench.settings.attacks import parse_attack
from rnabench.settings.recipe import Defined, Recipe
from rnabench.settings.spaces import parse_space

ASSUMED = {"bn+in+gn+ln": "bn+in+gn32+ln"}  # Table 5 does not say how many groups; Table 1's GN has 32
NONE, WORST, NATURAL = "-", "worst case", "natural"


@dataclass(frozen=True)
class ComparisonTable:
    """`headings` of the columns after the model's name; `lines` (name, cells) in the order of the table; `notes` say
    where a column of the paper's holds an attack with other parameters."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()


def published_numbers(table: str, model: Defined) -> dict[str, float]:
    """What the paper's table says of a network, percent by column; empty if it has no such row."""
    found = {}
    for row in published(table):
        if is_row(row, model) and row["accuracy_percent"]:
            found[row["column"]] = float(row["accuracy_percent"])
    return found


def is_row(row: Mapping[str, str], model: Defined) -> bool:
    """Whether a row of the paper's table is about this network."""
    if (row["dataset"], row["arch"]) != (model.dataset, model.arch) or not row["space"] or model.deploy.changes():
        return False
    norms = set(parse_space(ASSUMED.get(row["space"], row["space"])).norms)
    if norms != set(parse_space(model.space).norms):
        return False
    if len(norms) == 1:  # one path: black-box training is white-box training
        return model.objective in ADVERSARIAL
    return row["training"] in ("", model.objective) and (
        not row["randomization"] or (row["randomization"] == "layer-based") == model.layer_based)


def comparison(records: Sequence[Record], table: str, models: Mapping[str, Defined]) -> ComparisonTable:
    """The models of `records` beside the rows of the paper's `table` that `models` say they are; rows of the paper that
    were not measured come last."""
    everything = published(table)
    columns = list(dict.fromkeys(row["column"] for row in everything))
    cells: dict[tuple[str, str, str], str] = {}
    adaptive: dict[tuple[str, str], None] = {}  # a set that keeps its order
    here = {column: _run_for(column, columns, records) for column in columns}
    for row in method_rows(records):
        attack = WORST if row["attack"].startswith(WORST) else row["attack"]
        cells[row["model"], attack, row["protocol"]] = shown_accuracy(row)
        if row["protocol"].startswith("eot:"):
            adaptive[attack, row["protocol"]] = None

    def cell(name: str, attack: str, protocol: str) -> str:
        return cells.get((name, attack, protocol)) or cells.get((name, attack, "any")) or NONE

    lines, measured = [], methods(records)
    for method in measured:
        title, theirs = method.title, published_numbers(table, models[method.name]) if method.name in models else {}
        lines.append((title, (*(_beside(cell(title, here[column], "paper"), theirs.get(column)) for column in columns),
                              *(cell(title, *column) for column in adaptive))))
    defined = [models[method.name] for method in measured if method.name in models]
    others: dict[str, dict[str, float | None]] = {}
    for row in everything:
        if not any(is_row(row, model) for model in defined):
            number = float(row["accuracy_percent"]) if row["accuracy_percent"] else None
            others.setdefault(_title(row), {})[row["column"]] = number
    for title, numbers in others.items():
        lines.append((title, (*(_beside(NONE, numbers.get(column)) for column in columns), *(NONE for _ in adaptive))))
    headings = [column if here[column] == column else f"{column} (here {here[column]})" for column in columns]
    notes = [_note(column, here[column], records) for column in columns if here[column] != column]
    return ComparisonTable((*headings, *(" ".join(column) for column in adaptive)), tuple(lines), tuple(notes))


def _run_for(column: str, columns: Sequence[str], records: Sequence[Record]) -> str:
    """The attack that stands in a column of the paper's: the one of that name or, where it was not run, the only one of
    its kind that was."""
    run = {result.attack: result.parameters.get("kind") for record in records for result in record.results
           if result.protocol in ("paper", "any")}
    alike = [] if column in run or column == NATURAL else [
        name for name, kind in run.items() if kind == parse_attack(column).kind and name not in columns]
    return alike[0] if len(alike) == 1 else column


def _note(column: str, name: str, records: Sequence[Record]) -> str:
    parameters = next(result.parameters for record in records for result in record.results if result.attack == name)
    theirs = parse_attack(column).parameters.model_dump(exclude_none=True)
    differences = [f"{key} {parameters.get(key)}, the paper's {value}" for key, value in theirs.items()
                   if parameters.get(key) != value]
    return f"The column {column} holds {name} here ({'; '.join(differences) or 'the same parameters'})."


def _beside(measured: str, theirs: float | None) -> str:
    return measured if theirs is None else f"{measured} (paper {theirs:.2f})"


def _title(row: Mapping[str, str]) -> str:
    parts = [row["method"], row["arch"], row["dataset"], row["training"] if row["randomization"] else "",
             row["randomization"]]
    return f"{' '.join(part for part in parts if part)}, not run"


def write_comparison(records: Sequence[Record], recipe: Recipe, folder: Path) -> None:
    """Write `paper.csv`, `paper.md` and `paper.tex` for a recipe with a `published` table."""
    assert recipe.published is not None
    found = comparison(records, recipe.published, recipe.defined)
    table = pd.DataFrame([[name, *cells] for name, cells in found.lines], columns=["model", *found.headings])
    said = [*origin_lines(records), _scale(recipe, records), *found.notes, *sentences(recipe.claims, records),
            *verdicts(records)]
    write_text(folder / "paper.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "paper.md", "\n\n".join([
        f"# {recipe.heading}, beside the paper's",
        table.to_markdown(index=False, disable_numparse=True, colalign=("left",) + ("right",) * len(found.headings)),
        *said, _legend(found, any(len(method.records) > 1 for method in methods(records)), len(said) > 1)]) + "\n")
    tex = tabulate(table.values.tolist(), headers=list(table.columns), tablefmt="latex_booktabs", disable_numparse=True,
                   colalign=("left",) + ("right",) * len(found.headings))
    comments = "\n".join(f"% {line}" for line in [recipe.heading, *said])
    write_text(folder / "paper.tex", comments + "\n" + tex.replace("±", r"$\pm$") + "\n")


def _scale(recipe: Recipe, records: Sequence[Record]) -> str:
    profile = f"Profile {recipe.profile}: {recipe.summary}. " if recipe.profile else ""
    networks = ", ".join(dict.fromkeys(f"{record.model.arch} width {record.model.width}" for record in records))
    here = list(dict.fromkeys(record.data.name for record in records))
    theirs = [model.dataset for model in recipe.defined.values()]
    other = "" if set(here) <= set(theirs) else (
        f" Measured on {', '.join(here)} and not, as the paper's numbers, on {', '.join(dict.fromkeys(theirs))}: "
        "compare the order of the rows, not the numbers.")
    return f"{profile}{networks}; {caption(records)}.{other}"


def _legend(found: ComparisonTable, several: bool, said: bool) -> str:
    worst = WORST_LEGEND if any(heading.startswith(WORST) for heading in found.headings) else ""
    parts = [LEGEND.format(after=SEVERAL if several else ONE, worst=worst), *([SAID] if said else [])]
    return textwrap.fill(" ".join(parts), 120, break_on_hyphens=False)


LEGEND = """\
Accuracy in percent, `measured ± {after}, and the paper's number. The paper's columns are under its protocol: one path
is attacked, others predict. The columns with `eot:K` are what the paper does not have: the attacker averages the
gradient over K fresh paths at every step; a network with a single path has the same number under all protocols.
{worst}**!**: a sanity check that concerns the number failed; do not rely on it. The paper's numbers are of full
networks, 200 epochs and all test images of the data set that it names."""
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
