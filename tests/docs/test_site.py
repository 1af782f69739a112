"""The site: generated pages have all of it, written ones name nothing that is not there, links lead on."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from rnabench.cli.command import command
from rnabench.cli.main import COMMANDS
from rnabench.settings import shipped
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.corruptions import CORRUPTIONS
from rnabench.settings.datasets import DATASETS
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.parts import ACTIVATIONS, DEFENCE_KINDS, DENOISERS
from rnabench.settings.spaces import NORMS
from rnabench.settings.studies import STUDIES
from rnabench.settings.suites import SUITES
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from tests.docs.blocks import PAGES, ROOT, WRITTEN

TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "results/README.md")]
CODE = re.compile(r"`([^`\n]+)`")


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    """The modules of docs/generate but the hook itself, by name; they import each other as the hook's neighbours."""
    folder = ROOT / "docs" / "generate"
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(folder))
    names = [file.stem for file in folder.glob("*.py") if file.stem != "hook"]
    found = ModuleType("generate")
    for name in names:
        setattr(found, name, importlib.import_module(name))
    yield found
    patch.undo()
    for name in names:
        sys.modules.pop(name)


def options(name: str) -> set[str]:
    """What a command takes."""
    single = typer.Typer(add_completion=False)
    single.command(name)(command(COMMANDS[name], name))
    built = typer.main.get_command(single)
    return {option for each in built.params for option in (*each.opts, *each.secondary_opts) if option.startswith("--")}


@pytest.fixture(scope="module")
def every_option() -> set[str]:
    known = {option for name in COMMANDS for option in options(name)}
    return known | {"--help", "--version", "--install-completion", "--adv_training"}  # the last: of the released code


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_of_a_command_has_all_its_options(name: str, generate: ModuleType) -> None:
    page = generate.commands.page(name)
    assert all(f"`{option}`" in page for option in options(name))


def test_settings_and_records_are_whole(generate: ModuleType) -> None:
    page = generate.settings.page()
    kinds = [TrainingSettings, EvaluationSettings, *(STUDIES[name] for name in STUDIES)]
    assert all(f"| `{name}` |" in page for kind in kinds for name in kind.model_fields)
    schema = yaml.safe_load((ROOT / "docs" / "record.schema.json").read_text())
    page = generate.records.page()
    for name, part in {"": schema, **schema["$defs"]}.items():
        assert not name or f"#record-{name.lower()} " in page
        assert all(f"| `{key}` |" in page for key in part.get("properties", {}))


def test_every_recipe_and_every_result_is_told_of(generate: ModuleType) -> None:
    page = generate.papers.page()
    assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:-1] == sorted(
        shipped.names(), key=lambda name: [not name.startswith(each) for each in generate.papers.ORDER])
    folders = {file.parent.name for file in (ROOT / "results").glob("*/table.md")}
    assert set(re.findall(r"^### (.+)$", page, re.MULTILINE)) >= folders
    said = (ROOT / "results" / "README.md").read_text().partition("## What they say")[2]
    assert all(line in page for line in said.splitlines())
    for address, file in generate.papers.pictures().items():
        assert file.is_file()
        assert f"]({address.removeprefix('papers/')})" in page


@pytest.mark.parametrize(("page", "names"), [
    ("commands", [f"rnabench {name}" for name in COMMANDS]), ("attacks", SUITES), ("networks", ARCHITECTURES),
    ("networks", NORMS), ("networks", ACTIVATIONS), ("networks", DENOISERS), ("networks", DEFENCE_KINDS),
    ("training", [name for name in OBJECTIVES if name not in ("standard", "white-box", "black-box")]),
    ("data", DATASETS), ("data", CORRUPTIONS), ("studies", []),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_page_of_the_reference_names_all_there_is(page: str, names: list[str]) -> None:
    text = (PAGES / "reference" / f"{page}.md").read_text()
    spans = {word for span in CODE.findall(text) for word in re.split(r"[ ,+|\[]", span)} | set(CODE.findall(text))
    for name in names:
        assert any(re.fullmatch(rf"{re.escape(name)}( .*|[\d.]*)", span) for span in spans), name


def test_every_option_that_is_named_exists(every_option: set[str]) -> None:
    for file in [*WRITTEN, ROOT / "results" / "README.md"]:
        for span in CODE.findall(re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", span):
                assert option in every_option, f"{file.name}: {span}"


def test_every_page_is_in_the_navigation_and_lies_where_pages_lie() -> None:
    listed = set(re.findall(r": (\S+\.md)", (ROOT / "docs" / "mkdocs.yml").read_text()))
    assert {str(file.relative_to(PAGES)) for file in PAGES.rglob("*.md")} <= listed
    assert {file for file in (ROOT / "docs").rglob("*.md") if PAGES not in file.parents} == set()


@pytest.mark.parametrize("file", [*TOP, *sorted(PAGES.rglob("*.md"))], ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_files_lead_on(file: Path) -> None:
    """Those of pages into the site, too, but for generated ones; the strict build judges these, and all headings."""
    generated = re.compile(r"reference/(commands/|settings|records)|papers/results|pages/(security|changelog)")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8")):
        if not re.match(r"https?:", target):
            place = (file.parent / target).resolve()
            inside = str(place.relative_to(ROOT))
            assert place.exists() or generated.search(inside), target
