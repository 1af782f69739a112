"""What a command leaves behind: tables and figures of its records in files, and the tables on screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnabench.cli.answer import Answer
from rnabench.cli.console import console, marked, show_table
from rnabench.report.origin import origin_lines

if TYPE_CHECKING:
    from rnabench.report.record import Record
    from rnabench.settings.recipe import Recipe

LONG = 48  # lines that a study's table on the screen may have


def finish(records: Sequence[Record], folder: Path, title: str, recipe: Recipe | None = None) -> Answer:
    """Write the tables and figures of `records` to `folder`, and print the table; beside the published numbers too, if
    the recipe names a paper's table."""
    from rnabench.report.randomness import write_randomness
    from rnabench.report.scores import rows
    from rnabench.report.stochasticity import sentences
    from rnabench.report.sweep import write_sweeps
    from rnabench.report.table import TEXT_COLUMNS, caption, display, write_tables
    from rnabench.report.verdict import sanity_lines, verdicts

    claimed = []
    if recipe is not None and recipe.claims:
        from rnabench.report.claims import claims_of

        claimed = claims_of(recipe, records)
    # beside the published numbers they stand in paper.md
    write_tables(records, folder, title, () if recipe is not None and recipe.published else claimed)
    write_sweeps(records, folder, title)
    write_randomness(records, folder, title)
    if recipe is not None and recipe.published is not None:
        from rnabench.report.comparison import write_comparison

        write_comparison(records, recipe, folder)
    show_table(f"{title}\n{caption(records)}", *display(records), text_columns=TEXT_COLUMNS)
    out = console()
    findings, warnings = [*claimed, *verdicts(records), *sentences(records)], origin_lines(records)
    for sentence in findings:
        out.print(sentence)
    colours = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red"}
    for line in [*sanity_lines(records), *warnings]:
        status, _, rest = line.partition(" ")
        out.print(marked(status, colours[status], rest))
    if any(record.unreliable for record in records):
        out.print("! marks results that a failed check says not to rely on.")
    files = sorted(file.name for file in folder.glob("*.*") if file.is_file())
    out.print(f"in {folder}: {', '.join(files)}")
    checks = [{"model": record.label, "check": flag.check, "name": flag.name, "status": flag.status, "text": flag.text}
              for record in records for flag in record.sanity.flags]
    return {"title": title, "rows": rows(records), "findings": findings, "checks": checks,
            "warnings": [line.removeprefix("WARN ") for line in warnings], "folder": folder, "files": files}


def write_published(recipe: Recipe, folder: Path) -> None:
    """Write the published numbers of a recipe that measures by figures alone, to stand beside them."""
    from rnabench.report.comparison import write_comparison

    write_comparison([], recipe, folder)


def finish_study(record: dict[str, Any], stem: Path, title: str | None = None, on_screen: bool = True
                 ) -> Answer:
    """Write the files of a record that lies at <stem>.json, and print its tables."""
    from rnabench.report.study import heading, study_of, write_study

    files = write_study(record, stem, title or heading(record))
    out = console()
    if on_screen:
        out.print(heading(record))
        for name, headings, lines in study_of(record).tables(record):
            if len(lines) > LONG:
                out.print(f"\n{name}: {len(lines)} lines, in {stem.name}.md\n")
            else:
                show_table(name, headings, lines, text_columns=1)
    findings, warnings = study_of(record).findings(record), origin_lines([record])
    for sentence in [*findings, *warnings]:
        out.print(sentence)
    names = [f"{stem.name}.json", *(file.name for file in files)]
    out.print(f"in {stem.parent}: {', '.join(names)}")
    return {"study": record["study"], "title": title or heading(record), "rows": study_of(record).rows(record),
            "findings": findings, "warnings": [line.removeprefix("WARN ") for line in warnings],
            "folder": stem.parent, "files": names}
