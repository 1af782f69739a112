"""Result folders as one HTML page: the same folders give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError
from markupsafe import Markup

from rnabench.errors import RnabenchError
from rnabench.report.page.contents import ResultFolder, read_folders
from rnabench.report.page.leaderboard import COLUMNS, Group, leaderboard
from rnabench.report.page.sections import section, unreadable
from rnabench.report.page.view import BESIDE, Section, fragment
from rnabench.report.record_file import WRONG_CONTENT
from rnabench.runtime.files import write_text

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Written:
    """What a page shows, a line for every record that it does not, and how many folders of smoke tests were passed
    over."""

    folders: int
    tables: int
    figures: int
    bytes: int
    skipped: tuple[str, ...]
    smoke: int


def write_page(roots: Sequence[Path], file: Path, smoke: bool = False) -> Written:
    """Write the page of all result folders in `roots`, with those of smoke tests below them if asked to. Raises
    RnabenchError where there are none."""
    contents = read_folders(roots, smoke)
    taken = {fragment(name, set()) for name in ("how to read", "leaderboard", "results")}
    shown = [_shown(folder, taken) for folder in contents.folders]
    sections = [section for _, section in shown]
    page = render(sections, leaderboard([folder for folder, _ in shown], sections))
    write_text(file, page)
    blocks = [block for each in sections for block in each.blocks]
    tables, figures = (sum(map(len, each)) for each in (
        [block.tables for block in blocks], [block.figures for block in blocks]))
    skipped = [reason for folder, (kept, _) in zip(contents.folders, shown, strict=True) if kept is not folder
               for reason in kept.unreadable]
    return Written(len(sections), tables, figures, len(page.encode()), (*contents.skipped, *skipped), contents.smoke)


def _shown(folder: ResultFolder, taken: set[str]) -> tuple[ResultFolder, Section]:
    """The folder and its section; of one that cannot be shown, a folder without results, and why."""
    try:
        made = section(folder, taken)
        render([made], leaderboard([folder], [made]))  # alone: what it cannot show is no other folder's fault
        return folder, made
    except (RnabenchError, OSError, TemplateError, *WRONG_CONTENT) as error:
        reason = error if isinstance(error, RnabenchError) else f"{type(error).__name__}: {error}"
        kept = ResultFolder(folder.path, folder.name, unreadable=[
            *folder.unreadable, f"folder {folder.name!r} cannot be shown ({' '.join(str(reason).split())})"])
        return kept, unreadable(kept, taken)


def render(sections: Sequence[Section], standing: Sequence[Group]) -> str:
    """The page's HTML, with its style and script inside."""
    title = sections[0].title if len(sections) == 1 else "Robustness results"
    widest = max((len(table.headings) for section in sections for block in section.blocks for table in block.tables),
                 default=0)
    return _template().render(title=title, sections=sections, leaderboard=standing, columns=COLUMNS,
                              widest=widest) + "\n"


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"BESIDE": BESIDE, "BREAK": Markup("<wbr>")} | {
        name: Markup((HERE / file).read_text(encoding="utf-8")) for name, file in (
            ("style", "page.css"), ("script", "page.js"))}
    return environment.get_template("page.html")
