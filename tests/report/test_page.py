"""The page of `rnabench report`: everything of a folder is on it, and nothing that could act or call elsewhere."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rnabench.errors import RnabenchError
from rnabench.report.figure import new_figure, save
from rnabench.report.page.embed import belong_to, inline, paragraphs
from rnabench.report.page.render import write_page
from rnabench.report.page.settings import Group, apart_from, ranges
from rnabench.report.page.view import table
from rnabench.report.record_file import read_record, write_record
from rnabench.report.scores import judged, rows
from rnabench.report.table import display, percent
from tests.report.records import CLEAN, changed
from tests.report.test_report import record

RESULTS = Path(__file__).parents[2] / "results"


CELLS = ("td", "th")
ENDS = {"td": CELLS, "th": CELLS, "tr": (*CELLS, "tr"), "tbody": (*CELLS, "tr"), "dd": ("dt",)}
"""Which open tags a tag ends, as HTML has it; their own end tags may be left out."""


class Page(HTMLParser):
    """Tags with their attributes, the cells of the tables, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        while self._inside and self._inside[-1] in ENDS.get(tag, ()):
            self._inside.pop()
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in CELLS:
            self.tables[-1][-1].append("")
        if tag not in ("meta", "link", "img", "br", "wbr"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside[-1] != tag and self._inside[-1] in (*CELLS, "tr", "dt", "dd"):
            self._inside.pop()
        assert self._inside.pop() == tag, "tags nest"

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] not in ("script", "style"):
            self.words.append(data)
        if set(CELLS) & set(self._inside[-2:]):
            self.tables[-1][-1][-1] += data.strip("\n")

    def table(self, heading: str, number: int = 0) -> list[list[str]]:
        """One of the tables whose first column has that heading."""
        return [table for table in self.tables if table[0][0] == heading][number]

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


def figure(stem: Path) -> None:
    drawn, axes = new_figure(2, 1)
    axes.plot([0, len(stem.name)], [0, 1])
    save(drawn, stem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two records, a study with its figures, a sweep's figure, and a table like the paper's."""
    root = tmp_path_factory.mktemp("results")
    (root / "a").mkdir()
    for name in ("bn", "bn+in"):
        write_record(record(name), root / "a" / f"{name}.json")
    shutil.copy(RESULTS / "figures-digits" / "figure5c.json", root / "a")
    shutil.copy(RESULTS / "figures-digits" / "figure5c.md", root / "a")
    for stem in ("figure5c", "figure5c-part", "steps"):
        figure(root / "a" / stem)
    (root / "a" / "paper.csv").write_text("model,natural,PGD-20\nBN,94.1 ± 0.2 (paper 93.71),9.9!\n")
    (root / "a" / "paper.md").write_text("# Table 2\n\n| a |\n\nSee **this** [page](http://elsewhere.example).\n")
    (root / "a" / "table.md").write_text("# A title of its own\n")
    shutil.copytree(RESULTS / "bench-cpu", root / "bench")
    shutil.copytree(RESULTS / "crosscheck-digits-bn", root / "crosscheck")
    return root


def page_of(*folders: Path, out: Path) -> Page:
    write_page(folders, out)
    return Page(out.read_text())


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(folder, out=tmp_path_factory.mktemp("out") / "page.html")


def test_it_holds_all_that_it_shows(page: Page) -> None:
    for name in ("src", "href", "action", "poster", "srcset", "background"):
        assert all(value.startswith(("data:", "#")) for value in page.values(name)), name
    anchors = {value[1:] for value in page.values("href") if value.startswith("#")}
    assert anchors <= set(page.values("id"))
    assert len(page.values("id")) == len(set(page.values("id")))
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_same_folders_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    write_page([folder], tmp_path / "a.html")
    write_page([copied], tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert str(tmp_path) not in (tmp_path / "a.html").read_text()
    write_page([folder], folder / "report.html")  # a page in the folder changes nothing
    write_page([folder], tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("name", ["quickstart", "quickstart-suites"])
def test_every_row_of_the_committed_records(name: str, tmp_path: Path) -> None:
    shown = page_of(RESULTS / name, out=tmp_path / "page.html")
    records = [read_record(RESULTS / name / f"{model}.json") for model in ("bn", "bn+in")]
    table = shown.table("model")
    assert [tuple(row) for row in table[1:]] == display(records)[1]
    assert [row[3].rstrip("!") for row in table[1:]] == [percent(row["accuracy"]) for row in rows(records)]
    took = [row for table in shown.tables for row in table if table[0][-2:] == ["seconds", "parameters"]]
    text = " ".join(shown.words)
    for each in records:
        assert {each.model.weights_sha256, each.model.digest, each.git, each.digest, each.data.fingerprint,
                each.versions["torch"]} <= set(re.split(r"[\s,]+", text))
        for result in each.results:
            assert [result.attack, result.protocol, f"{100 * result.accuracy:.2f}"] in [row[:3] for row in took]
        for flag in each.sanity.flags:
            assert flag.status == "n/a" or flag.text in text


def test_every_table_of_a_folder_and_every_figure_once(page: Page) -> None:
    assert [row[0] for row in page.table("model")] == ["model", "BN"], "of a folder, the paper's table comes first"
    assert page.table("model")[1][1] == "94.1 ± 0.2 (paper 93.71)"
    text = " ".join(page.words)
    for words in ("A title of its own", "Table 2", "Figure 5 c: path difference", "Native attacks beside",
                  "textbook step, bn"):
        assert words in text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len({image["src"] for image in images if image["alt"]}) == 3
    for image in images:
        assert 0 < int(image["width"] or 0) < 400
        assert int(image["height"] or 0) > 0


def test_a_failed_check_is_seen_at_the_number_the_folder_and_the_check(tmp_path: Path) -> None:
    made = judged(changed(record(), sanity={"diagnosis": {**CLEAN, "zero_gradients": 1.0}}))
    assert made.unreliable
    write_record(made, tmp_path / "a.json")
    shown = page_of(tmp_path, out=tmp_path / "page.html")
    doubtful = [row[3] for row in shown.table("model") if "!" in row[3]]
    assert doubtful == ["50.0!"]
    classes = [value.split() for value in shown.values("class")]
    marked = [cell for table in shown.tables for row in table for cell in row if "!" in cell]
    assert sum("doubtful" in names for names in classes) == len(marked) > len(doubtful)  # wherever the number stands
    assert sum("FAIL" in names for names in classes) == 5, "contents, leaderboard, section, check, and how to read"


def test_tables_can_be_sorted_and_read_aloud(page: Page) -> None:
    headings = [attributes for tag, attributes in page.tags if tag == "th" and attributes["scope"] == "col"]
    assert headings
    assert not any("aria-sort" in attributes for attributes in headings), "the script says so, which sorts"
    tags = [tag for tag, _ in page.tags]
    assert tags.count("caption") == tags.count("table") == len(page.tables)


def test_text_from_a_record_stays_text(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    made, attacked = record(evil), record().results[1].content() | {"attack": evil}
    made = changed(made, data={"name": evil}, device={"name": evil}, results=[made.results[0].content(), attacked])
    write_record(made, tmp_path / "evil.json")
    (tmp_path / "table.md").write_text(f"# {evil}\n")
    (tmp_path / "paper.csv").write_text(f'model,x\n"{evil.replace(chr(34), "")}",1\n')
    (tmp_path / "paper.md").write_text(f"**{evil}** `{evil}`\n")
    figure(tmp_path / "<b>")
    shown = page_of(tmp_path, out=tmp_path / "page.html")
    assert [tag for tag, _ in shown.tags].count("script") == 2
    assert [tag for tag, _ in shown.tags].count("img") == 1
    assert not shown.values("onerror")
    assert evil in "".join(shown.words)


@pytest.mark.parametrize(("cells", "numeric"), [
    (["52.3 ± 1.0 (paper 52.16)!", "-"], True), (["98.2 - 99.9"], True), (["52.1 [48.0, 56.2]"], True),
    (["20/batch", "1"], True), (["1,240", "-6.0"], True), (["-", "-"], False), (["pgd10", "3"], False),
    (["any"], False),
    (["- (paper 85.27)", "52.3 ± 1.0 (paper 52.16)"], True), (["6.1e-08", ".5"], True), (["1.stages.0.norm1"], False),
])
def test_which_columns_are_numbers(cells: list[str], numeric: bool) -> None:
    assert table("t", ["h"], [[cell] for cell in cells]).numeric == [numeric]


def test_figures_belong_to_the_study_with_the_longest_name() -> None:
    found = belong_to(["eps", "figure3", "figure3-histograms", "figure3-paths"], ["figure3", "figure3-paths"])
    assert found == {"": ["eps"], "figure3": ["figure3", "figure3-histograms"], "figure3-paths": ["figure3-paths"]}


def test_the_little_markdown() -> None:
    assert inline("**a** `b*c*` [d](http://e) <f>") == "<strong>a</strong> <code>b*c*</code> d &lt;f&gt;"
    shown = paragraphs("# t\n\n| x |\n| - |\n| 1 |\n\none\ntwo\n\n- a\n  b\n- c\n\n<p>")
    assert shown.split() == [
        "<p>one", "two</p>", "<ul>", "<li>a", "b</li>", "<li>c</li>", "</ul>", "<p>&lt;p&gt;</p>"]


def test_of_further_networks_what_differs_is_said_and_nothing_is_lost() -> None:
    first = [Group("Network", (("space", "bn"), ("width", "16"), ("defence", "jpeg"))),
             Group("Data", (("images", "64"),))]
    other = [Group("Network", (("space", "in"), ("width", "16"))), Group("Data", (("images", "64"),)),
             Group("Made by", (("git", "1"),))]
    network, data, made = apart_from(first, "BN", other)
    assert network.settings == (("space", "in"), ("defence", "-"), ("all else", "as of BN"))
    assert data.settings == (("all", "as of BN"),)
    assert made == other[2]


def test_indices_in_ranges() -> None:
    assert ranges([0, 1, 2, 7, 9, 10]) == "0-2, 7, 9-10"
    assert ranges(list(range(0, 40, 2))).endswith("22 and 8 more")


def test_what_cannot_be_shown_is_named_and_the_rest_is(tmp_path: Path) -> None:
    write_record(record(), tmp_path / "good.json")
    (tmp_path / "broken.json").write_text('{"results": [')
    (tmp_path / "old.json").write_text('{"format": 1, "results": []}')
    (tmp_path / "bare.json").write_text('{"format": 2, "results": []}')
    (tmp_path / "study.json").write_text('{"format": 1, "study": "alchemy", "results": {}}')
    (tmp_path / "other.json").write_text("[1]")
    skipped = write_page([tmp_path], tmp_path / "page.html").skipped
    assert [re.findall(r"(\w+)\.json", line) for line in skipped] == [["bare"], ["broken"], ["old"], ["study"]]
    assert all("\n" not in line and "expected" in line for line in skipped)


def test_without_results_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(RnabenchError, match="holds no results"):
        write_page([tmp_path], tmp_path / "page.html")
    with pytest.raises(RnabenchError, match="FOLDER"):
        write_page([tmp_path / "missing"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
