"""Commands are made of settings: an option for every field, its default, and pydantic's judgement of what is typed."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, get_origin

import pytest
import typer

from rnabench.cli import options as o
from rnabench.cli.command import command, options_of
from rnabench.cli.main import COMMANDS, app
from rnabench.cli.options import Change, only
from rnabench.cli.study import settings_of, studies
from rnabench.errors import InvalidSettings
from rnabench.settings.base import Part
from rnabench.settings.datasets import DataSettings
from rnabench.settings.deployment import Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.studies import STUDIES
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from tests.cli.test_cli import run

KINDS: dict[str, list[type[Part]]] = {
    "train": [TrainingSettings], "attack": [EvaluationSettings, DataSettings, Deployment], "reproduce": [DataSettings],
    **{name: [settings_of(name), DataSettings, Deployment] for name in studies()}}
EVERY = [DataSettings, Deployment, TrainingSettings, EvaluationSettings, *(settings_of(name) for name in studies())]


def parameters(name: str) -> list[Any]:
    """The arguments and options of a command as typer has them."""
    group: Any = typer.main.get_command(app)
    return list(group.resolve_command(typer.Context(group), [name])[1].params)


def of_its_own(name: str) -> set[str]:
    return set(inspect.signature(COMMANDS[name]).parameters) - {"settings", "data", "deployment"}


def is_mapping(kind: type[Part], name: str) -> bool:
    return get_origin(kind.model_fields[name].annotation) is dict


@pytest.mark.parametrize("name", KINDS)
def test_every_option_stands_for_a_field_and_every_field_for_an_option(name: str) -> None:
    fields = {field for kind in KINDS[name] for field in kind.model_fields
              if field not in kind.unused and not is_mapping(kind, field)}
    assert {parameter.name for parameter in parameters(name)} == fields | of_its_own(name) | {"as_json"}
    assert not fields & {*of_its_own(name), "as_json"}


@pytest.mark.parametrize("kind", EVERY)
def test_every_field_says_what_it_is_for(kind: type[Part]) -> None:
    for name, field in kind.model_fields.items():
        assert (field.description or "").endswith("."), name
        said: Any = field.json_schema_extra
        assert said["panel"] in o.PANELS, name
        assert field.default is None or not said["none"], name  # a default is shown once


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_help(name: str) -> None:
    assert COMMANDS[name].__doc__
    for parameter in parameters(name):
        assert parameter.help, parameter.name


@pytest.mark.parametrize("kind", EVERY)
def test_without_options_settings_are_their_defaults_and_a_default_can_be_typed(kind: type[Part]) -> None:
    seen: list[Part] = []

    def keep(settings: Any) -> None:
        seen.append(settings)

    keep.__annotations__["settings"] = kind
    made = command(keep, "any")
    shown = {name: each.default for name, each in inspect.signature(made).parameters.items()}
    made(**shown)
    assert seen[0] == kind()
    assert shown == {option.name: option.default for option in options_of(kind)}
    for name in shown:
        if not is_mapping(kind, name):
            assert getattr(seen[0], name) == kind.model_fields[name].default, name
    assert {name for name, value in shown.items() if value is None} == {
        name for name in shown if kind.model_fields[name].default is None}


def test_what_is_typed_arrives() -> None:
    seen: list[Any] = []

    def keep(settings: Annotated[TrainingSettings, only("eps", "milestones", "augment", "lr",
                                                        batch_size=Change(default=32))],
             data: o.Data, evaluation: Annotated[EvaluationSettings, only("attacks")],
             repeats: Annotated[int, o.option("Rounds.", o.RUN)] = 3) -> None:
        seen.append((settings, data, evaluation, repeats))

    made = command(keep, "any")
    typed: dict[str, Any] = {name: each.default for name, each in inspect.signature(made).parameters.items()}
    assert typed["batch_size"] == "32"
    made(**typed)
    assert seen[-1] == (TrainingSettings(batch_size=32), {}, EvaluationSettings(), 3)
    made(**typed | {"eps": "4/255", "milestones": "9,20", "augment": False, "lr": "1e-2", "attacks": "fgsm,pgd3",
                    "dataset": "digits", "repeats": "5"})
    assert seen[-1] == (TrainingSettings(eps=4 / 255, milestones=(9, 20), augment=False, lr=0.01, batch_size=32),
                        {"dataset": "digits"}, EvaluationSettings(attacks=("fgsm", "pgd3")), 5)
    with pytest.raises(InvalidSettings) as raised:
        made(**typed | {"eps": "8", "lr": "much", "attacks": "fgms", "repeats": "few"})
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == [
        "--eps", "--lr", "--attacks", "--repeats"]


def test_all_wrong_options_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--epochs", "many", "--objective", "blackbox", "--lr=-1", "--max-minutes", "x", "--width",
               "0") == 2
    lines = capsys.readouterr().err.splitlines()
    for line in ("--epochs: 'many' is not valid; expected an integer", "--width: 0 is not valid; expected at least 1",
                 f"--objective: 'blackbox' is not valid; expected one of {', '.join(OBJECTIVES)}; did you mean "
                 "'black-box'?", "--lr: -1.0 is not valid; expected a number greater than 0",
                 "--max-minutes: 'x' is not valid; expected a number"):
        assert f"error: {line}" in lines
    assert len(lines) == 5


def test_the_list_of_commands_names_every_study_and_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(studies()) == list(STUDIES)
    assert all(line.endswith(".") for line in studies().values())
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for name, line in studies().items():
        assert f"  {name} " in shown
        assert line[:40] in shown


@pytest.mark.parametrize("name", ["train", "attack", "theory"])
def test_the_help_of_a_command_loads_no_torch(name: str) -> None:
    code = ("import sys; from rnabench.cli.main import main\n"
            f"try: main([{name!r}, '--help'])\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert "--eps" in done.stdout


def test_a_shell_that_asks_what_may_follow_is_told_that_alone(tmp_path: Path) -> None:
    def ran(*options: str, **asked: str) -> str:
        program = "import sys; sys.argv[0] = 'rnabench'; from rnabench.cli.main import main; main()"
        done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True,
                              env=os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION":
                                                "1"} | asked)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def completed(words: str) -> set[str]:
        return set(ran(_RNABENCH_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD="2").split())

    assert completed("rnabench attack --att") == {"--attacks", "--attack-paths"}
    assert completed("rnabench nosuch --x") == set()
    assert "_RNABENCH_COMPLETE" in ran("--show-completion", "bash")
    assert "installed" in ran("--install-completion", "bash")
