"""Every code block of the documentation runs; of what takes long, every command line is one that the program takes."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from rnabench.cli import main as cli
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.recipe_source import profiles
from tests.cli.test_cli import run
from tests.docs.blocks import KINDS, ROOT, WRITTEN, Block, blocks

PACKAGE = ROOT / "tests" / "other_package"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUN = [("sh", ""), ("python", ""), ("yaml", "")]


def test_every_block_says_how_it_is_tested() -> None:
    assert {(block.language, block.mark) for block in blocks()} <= set(KINDS)
    fences = sum(file.read_text(encoding="utf-8").count("```") for file in WRITTEN)
    assert fences == 2 * len(blocks())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has who is at the top of the repository, as far as pages name it."""
    shutil.copytree(ROOT / "results" / "quickstart", tmp_path / "results" / "quickstart")
    for file in (ROOT / "docs" / "examples" / "noisy_network.py", ROOT / "recipes" / "paper.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", list(dict.fromkeys(block.page for block in blocks(*RUN))))
def test_the_blocks_of_a_page_run(page: str, folder: Path) -> None:
    for block in (block for block in blocks(*RUN) if block.page == page):
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), {"__name__": "example"})
        elif block.language == "yaml":
            is_recipe(block, folder)
        else:
            for line in block.commands:
                program, *words = shlex.split(line, comments=True)
                assert (program, run(*words)) == ("rnabench", 0), f"{block}: {line}"


def is_recipe(block: Block, folder: Path) -> None:
    """It is left where the commands below it look for it."""
    file = folder / f"{yaml.safe_load(block.text)['name']}.yaml"
    file.write_text(block.text)
    for profile in profiles(file) or [None]:
        load_recipe(file, profile)


def judge_rnabench(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command line, whose commands do nothing once all options are judged."""
    for name, function in cli.COMMANDS.items():
        monkeypatch.setitem(cli.COMMANDS, name, idle(function))
    assert run(*words) == 0, words


def idle(function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def nothing(**_: object) -> None:
        pass
    return nothing


def judge_python(words: list[str]) -> None:
    assert words[:2] == ["-m", "venv"] or (ROOT / words[0]).is_file(), words


def judge_pip(words: list[str]) -> None:
    """It installs this package with extras that there are, or a file of requirements."""
    assert words[0] == "install", words
    if "-r" in words:
        assert (ROOT / words[words.index("-r") + 1]).is_file(), words
        return
    package, _, extras = words[-1].rstrip("]").partition("[")
    assert package in (".", PROJECT["name"]), words
    assert set(extras.split(",")) - {""} <= set(PROJECT["optional-dependencies"]), words


def judge_files(words: list[str]) -> None:
    """What is named with a suffix is there."""
    named = [word for word in words if Path(word).suffix in (".py", ".yml")]
    assert all((ROOT / word).is_file() for word in named), words


JUDGES: dict[str, Callable[[list[str]], None]] = {
    "python": judge_python, "python3": judge_python, "pip": judge_pip, "pytest": judge_files, "mkdocs": judge_files,
    **dict.fromkeys(("ruff", "mypy", "git", "mkdir", "ln"), lambda words: None)}


@pytest.mark.parametrize("block", blocks(("sh", "parsed")), ids=str)
def test_command_lines_are_such_as_the_program_takes(
        block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for line in block.commands:
        for command in line.split("&&"):
            program, *words = shlex.split(command, comments=True)
            name = Path(program).name
            if name == "torchrun":  # whose own options are its own matter
                name, words = "rnabench", words[words.index("rnabench") + 1:]
            if name == "rnabench":
                judge_rnabench(words, monkeypatch)
            else:
                JUDGES[name](words)


@pytest.mark.parametrize("words", [["train", "--widht", "8"], ["train", "--width", "none"], ["atack"],
                                   ["attack", "--suite", "quickest"]])
def test_a_wrong_command_line_is_found(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        judge_rnabench(words, monkeypatch)


IN_PACKAGE = """
import shlex, sys
from pathlib import Path
from rnabench.cli.main import main
from rnabench.settings.recipe_loading import load_recipe

def call(*words):
    try: main(list(words))
    except SystemExit as end: assert not end.code, words

call(*"train --dataset digits16 --space bn --width 8 --epochs 1 --steps 1 --n-train 64 --batch-size 32".split())
for line in filter(None, sys.argv[1].splitlines()):
    call(*shlex.split(line)[1:])
load_recipe(Path("recipe.yaml"))
"""
MODELS = "name: part\ntitle: A part\nmodels: {bn: {space: bn}, in: {space: in}, ln: {space: ln}, bn+in: {}}\n"


@pytest.mark.slow
def test_what_another_package_brings_is_used_as_shown(folder: Path) -> None:
    """The page shows an attack, a command that runs it, and a suite that has it."""
    commands, parts = blocks(("sh", "installed")), blocks(("yaml", "installed"))
    assert commands
    assert parts
    (folder / "recipe.yaml").write_text(MODELS + "".join(part.text for part in parts))
    installed = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", IN_PACKAGE, "\n".join(line for block in commands
                                                                       for line in block.commands)],
                          capture_output=True, text=True, env=installed)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks(("yaml", "part")), ids=str)
def test_a_part_of_a_recipe_is_one(block: Block, tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text(MODELS + block.text)
    load_recipe(tmp_path / "part.yaml")


@pytest.mark.parametrize("block", blocks(("yaml", "workflow")), ids=str)
def test_a_workflow_says_what_the_action_takes(block: Block) -> None:
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    for step in yaml.safe_load(block.text):
        assert {name for name, each in inputs.items() if each.get("required")} <= set(step["with"]) <= set(inputs)


SHOWN = ["attack", "norm", "activation", "study", "dataset", "corruption", "defence", "trainable_defence",
         "logger"]
LONGEST = 40  # lines of an example


@pytest.mark.parametrize("block", blocks(("python", "file")), ids=str)
def test_a_file_that_is_shown_is_one_that_is_run(block: Block) -> None:
    """By tests/test_other_package.py, tests/cli/test_foreign.py and tests/jobs/test_recipe_cells.py."""
    files = [*(PACKAGE / "rnabench_example").glob("*.py"), *(ROOT / "docs" / "examples").glob("*.py")]
    assert block.text in [file.read_text(encoding="utf-8") for file in files]


@pytest.mark.parametrize("name", SHOWN)
def test_each_kind_of_thing_has_a_short_example(name: str) -> None:
    text = (PACKAGE / "rnabench_example" / f"{name}.py").read_text(encoding="utf-8")
    assert text in [block.text for block in blocks(("python", "file"))]
    assert len(text.splitlines()) <= LONGEST


def test_the_entry_points_are_those_of_the_package() -> None:
    installed = (PACKAGE / "rnabench_example-1.0.dist-info" / "entry_points.txt").read_text(encoding="utf-8")
    groups = dict(re.findall(r"\[(rnabench\.\w+)\]\nexample = ([\w.]+)", installed))
    shown = [tomllib.loads(block.text)["project"]["entry-points"] for block in blocks(("toml", ""))]
    assert {group: names["example"] for each in shown for group, names in each.items()} == groups


def test_the_recipe_on_top_of_the_papers_is_one(folder: Path) -> None:
    (block,) = [block for block in blocks(("yaml", "")) if block.text.startswith("base: ")]
    (folder / "mine.yaml").write_text(block.text)
    for profile, width in (("paper", 128), ("cpu", 32), ("smoke", 16)):
        assert load_recipe(folder / "mine.yaml", profile).models["RNA-wide"].width == width
