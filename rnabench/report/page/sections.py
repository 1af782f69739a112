"""From what a result folder holds to the section that shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rnabench.report import bench, crosscheck, randomness, study
from rnabench.report.origin import origin_lines
from rnabench.report.page.contents import ResultFolder
from rnabench.report.page.embed import EmbeddedFigure, belong_to, embed, first_heading, inline, paragraphs, stems
from rnabench.report.page.settings import (
    RESULT_HEADINGS,
    apart_from,
    network,
    of_measurement,
    of_record,
    of_study,
    result_rows,
    text,
)
from rnabench.report.page.view import Block, Check, Fold, Section, Table, fragment, table
from rnabench.report.paper_table import read_paper_table
from rnabench.report.record import Record
from rnabench.report.staleness import stale_lines
from rnabench.report.stochasticity import sentences
from rnabench.report.table import caption, display, legend
from rnabench.report.verdict import sanity_lines, verdicts

SETTINGS = "settings, and how each number was made"


def section(folder: ResultFolder, taken: set[str]) -> Section:
    """The tables of a folder as the paper has them, its records, its studies, its measurements; each with its figures.

    `taken` are the ids that the page has so far.
    """
    path, own = folder.path, fragment(folder.name, taken)
    figures = belong_to(stems(path), folder.studies)
    blocks = [
        *_paper(folder, fragment(f"{own}-paper", taken)),
        *_records(folder, fragment(f"{own}-records", taken), figures.get("", [])),
        *(_study(path, stem, record, fragment(f"{own}-{stem}", taken), figures.get(stem, []))
          for stem, record in folder.studies.items()),
        *_measurements(folder, taken, own),
        *_unreadable(folder, taken, own),
    ]
    if (left := figures.get("", [])) and not folder.records:
        others = _embedded(path, left, "Figure")
        blocks.append(Block(fragment(f"{own}-figures", taken), "Other figures", figures=others))
    notes = ["table.md", *(f"{stem}.md" for stem in folder.studies)]
    titles = [found for note in notes if (found := first_heading(path / note))]
    return Section(own, folder.name, titles[0] if titles else folder.name.rsplit("/", 1)[-1], tuple(blocks))


def unreadable(folder: ResultFolder, taken: set[str]) -> Section:
    """In the place of a folder of which nothing can be shown but why."""
    own = fragment(folder.name, taken)
    return Section(own, folder.name, folder.name.rsplit("/", 1)[-1], tuple(_unreadable(folder, taken, own)))


def _unreadable(folder: ResultFolder, taken: set[str], own: str) -> list[Block]:
    if not folder.unreadable:
        return []
    return [Block(fragment(f"{own}-unreadable", taken), "Unreadable",
                  checks=tuple(Check("FAIL", reason) for reason in folder.unreadable))]


def _paper(folder: ResultFolder, own: str) -> list[Block]:
    """A table that is arranged like the paper's, if the folder has one."""
    path, found = folder.path, read_paper_table(folder.path)
    if found is None:
        return []
    try:
        prose = (path / "paper.md").read_text(encoding="utf-8") if (path / "paper.md").exists() else ""
    except (OSError, ValueError):
        prose = ""
    shown = table("As in the paper", found.headings, found.rows)
    return [Block(own, first_heading(path / "paper.md") or "As in the paper", tables=(shown,), prose=paragraphs(prose),
                  sentences=tuple(stale_lines(list(folder.records.values()))))]


def _records(folder: ResultFolder, own: str, figures: list[str]) -> list[Block]:
    records = list(folder.records.values())
    if not records:
        return []
    checks = _checks([*sanity_lines(records), *origin_lines(records)])
    return [Block(
        own, "Every attack under every protocol", caption(records), (*verdicts(records), *sentences(records)),
        (table("Accuracy under attack", *display(records), open=True),
         *(table(*part[:3]) for part in randomness.tables(records))), checks=checks,
        figures=tuple(figure for name in figures for figure in _embedded(
            folder.path, [name], randomness.FIGURES.get(name, "Accuracy against the swept value"),
            name if name in randomness.FIGURES else "")),
        legend=inline(" ".join(" ".join([legend(records), *(part[3] for part in randomness.tables(records))]).split())),
        folds=_shortened([(record.label, _made(record, stem)) for stem, record in folder.records.items()]),
    )]


def _checks(lines: list[str]) -> tuple[Check, ...]:
    return tuple(Check(*line.split(" ", 1)) for line in lines)


def _made(record: Record, stem: str) -> Fold:
    norm, probes = record.threat.norm, record.sanity.probes
    tables = [table("What each result took", RESULT_HEADINGS, result_rows(record.results, norm))]
    if probes:
        tables.append(table("What the sanity checks ran besides", RESULT_HEADINGS, result_rows(probes, norm)))
    return Fold(f"{record.label}: {SETTINGS}", of_record(record, f"{stem}.json"), tuple(tables))


def _shortened(folds: list[tuple[str, Fold]]) -> tuple[Fold, ...]:
    """Of networks that stand together: the first one's settings, and in what the others differ from it."""
    if not folds:
        return ()
    name, first = folds[0]
    return (first, *(replace(fold, groups=apart_from(first.groups, name, fold.groups)) for _, fold in folds[1:]))


def _study(path: Path, stem: str, record: dict[str, Any], own: str, figures: list[str]) -> Block:
    measured = study.study_of(record)
    title = first_heading(path / f"{stem}.md") or measured.title
    networks = _shortened([(model["label"], Fold(model["label"], network(model))) for model in record["models"]])
    return Block(
        own, title, study.heading(record), tuple(measured.findings(record)),
        tuple(table(*each) for each in measured.tables(record)), figures=_embedded(path, figures, title, stem),
        checks=_checks(origin_lines([record])), legend=inline(" ".join(study.legend(record).split())),
        folds=(Fold(f"{stem}: {SETTINGS}", of_study(record, f"{stem}.json"), folds=networks),),
    )


def _measurements(folder: ResultFolder, taken: set[str], own: str) -> list[Block]:
    found = []
    if (speed := folder.bench) is not None:
        said = f"{speed['title']}. {' '.join(bench.lines(speed))}".removesuffix(".")
        found.append(Block(
            fragment(f"{own}-bench", taken), "Speed", said,
            tables=(table("Time of each case", bench.HEADINGS, bench.display_rows(speed)),),
            folds=(Fold(f"bench: {SETTINGS}", of_measurement(speed, "bench.json")),)))
    if (beside := folder.crosscheck) is not None:
        found.append(Block(
            fragment(f"{own}-crosscheck", taken), "Native attacks beside the libraries'", crosscheck.title(beside),
            tables=(table("Agreement and cost", crosscheck.HEADINGS, crosscheck.display_rows(beside)),),
            legend=inline(" ".join(crosscheck.LEGEND.split())),
            folds=(Fold(f"crosscheck: {SETTINGS}", of_measurement(beside, "crosscheck.json"), (_cases(beside),)),)))
    return found


def _cases(result: dict[str, Any]) -> Table:
    return table("Parameters of each attack", ("attack", "images", "parameters"), [
        (case["case"], str(case["images"]), text(case["parameters"], "Linf")) for case in result["cases"]])


def _embedded(path: Path, names: list[str], title: str, owner: str = "") -> tuple[EmbeddedFigure, ...]:
    """The figures of these names; what a name adds to its owner's is added to the caption."""
    parts = [name.removeprefix(owner).strip("-").replace("-", " ") for name in names]
    return tuple(embed(path, name, f"{title} ({part})" if part else title)
                 for name, part in zip(names, parts, strict=True))
