"""Loggers are told of each piece once, whatever stops or fails in between, and nothing else changes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.runtime.watch import LOGGERS, Logger, Watch, Watched, check_loggers

told: list[tuple[Watched, int, dict[str, float]]] = []


class Listening(Logger):
    library, install = "json", "json"
    failing: type[Exception] | None = None

    def __init__(self, watched: Watched) -> None:
        self.watched = watched

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if Listening.failing:
            raise Listening.failing("no space left\non the device")
        print("a library's own chatter")
        told.append((self.watched, step, dict(values)))

    def close(self) -> None:
        if Listening.failing:
            raise Listening.failing("again")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    list(LOGGERS)
    for name in ("listening", "other"):
        monkeypatch.setitem(LOGGERS._things, name, Listening)
    told.clear()
    Listening.failing = None


def watch(folder: Path, lines: list[str], digest: str = "a", names: tuple[str, ...] = ("listening",), **how: bool
          ) -> Watch:
    return Watch(names, "title", folder / "events", digest, lines.append, **how)


def steps() -> list[int]:
    return [step for _, step, _ in told]


def test_each_piece_is_told_once_by_whatever_process(tmp_path: Path) -> None:
    for done in (2, 3, 5, 5):
        with watch(tmp_path, []) as each:
            for step in range(1, done + 1):
                each.log(f"epoch {step}", step, {"loss": 1 / step})
    assert steps() == [1, 2, 3, 4, 5]
    assert [values for _, _, values in told] == [{"loss": 1 / step} for step in range(1, 6)]
    assert len({watched.run for watched, _, _ in told}) == 1  # of which a server makes one run
    with watch(tmp_path, [], names=("listening", "other")) as each:  # one that is asked for later gets it all
        each.log("epoch 5", 5, {})
    assert steps() == [1, 2, 3, 4, 5, 5]


def test_two_processes_on_one_thing_tell_it_once(tmp_path: Path) -> None:
    with watch(tmp_path, [], several=True) as first, watch(tmp_path, [], several=True) as second:
        for each in (first, second, first):
            each.log("cell", 1, {})
    assert steps() == [1]
    assert told[0][0].run is None


@pytest.mark.parametrize("change", [{"digest": "b"}, {"anew": True}])
def test_another_run_begins_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    with watch(tmp_path, []) as each:
        each.log("epoch 1", 1, {})
    (tmp_path / "events" / "file").touch()
    (tmp_path / "kept").touch()
    with watch(tmp_path, [], **change) as each:
        each.log("epoch 1", 1, {})
        each.log("epoch 1", 1, {})
    assert steps() == [1, 1]
    assert not (tmp_path / "events" / "file").exists()
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": "a"}', '{"digest": "a", "run": 1, "told": []}'])
def test_a_damaged_file_is_no_end(tmp_path: Path, content: str) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "told").write_text(content)
    with watch(tmp_path, lines := []) as each:
        each.log("epoch 1", 1, {})
    assert (steps(), lines) == ([1], [])


def test_a_failure_is_one_warning_and_told_later(tmp_path: Path) -> None:
    with watch(tmp_path, lines := []) as each:
        each.log("epoch 1", 1, {})
        Listening.failing = OSError
        for step in (2, 3):
            each.log(f"epoch {step}", step, {})
    assert lines == ["warning: --log listening: OSError: no space left on the device; going on without it"]
    Listening.failing = None
    with watch(tmp_path, lines) as each:
        for step in (1, 2, 3):
            each.log(f"epoch {step}", step, {})
    assert steps() == [1, 2, 3]
    assert len(lines) == 1


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "events").touch()
    with watch(tmp_path, lines := []) as each:
        each.log("epoch 1", 1, {})
        each.log("epoch 2", 2, {})
    (line,) = lines
    assert line.startswith("warning: --log listening: out: cannot write ")


def test_chatter_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watch(tmp_path, []) as each:
        each.log("epoch 1", 1, {})
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "a library's own chatter\n")


def test_without_loggers_nothing_is_written(tmp_path: Path) -> None:
    with watch(tmp_path, [], names=()) as each:
        each.log("epoch 1", 1, {})
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_and_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match=r"^--log: 'tensorbord' is not valid; .* did you mean 'tensorboard'\?$"):
        check_loggers(["tensorbord"])
    for name, install in (("tensorboard", "rnabench[watch]"), ("wandb", "wandb"), ("trackio", "trackio")):
        monkeypatch.setitem(sys.modules, name, None)  # whoever imports it gets an ImportError
        with pytest.raises(RnabenchError, match=r"^--log: ") as error:
            check_loggers([name])
        assert f"expected `pip install '{install}'`" in str(error.value)


class Stub(ModuleType):
    """As much of wandb and of trackio as is used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.said: list[tuple[str, Any]] = []

    def init(self, **options: Any) -> Any:
        self.said.append(("init", options))
        return SimpleNamespace(
            log=lambda values, step=None: self.said.append(("log", (values, step))),
            define_metric=lambda name, step_metric: self.said.append(("axis", step_metric)), finish=self.finish)

    def finish(self) -> None:
        self.said.append(("finish", None))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_libraries_with_runs_of_their_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, stub := Stub(name))
    for last in (2, 3):
        with watch(tmp_path, lines := [], names=(name,)) as each:
            for step in range(1, last + 1):
                each.log(f"epoch {step}", step, {"loss": 0.5})
        assert not lines
    logged = [said for what, said in stub.said if what == "log"]
    assert [step or values["step"] for values, step in logged] == [1, 2, 3]
    assert all(values["loss"] == 0.5 for values, _ in logged)
    first, second = (said for what, said in stub.said if what == "init")
    assert first == second  # the second goes on with the first's
    assert first["resume"] == "allow"
    assert [what for what, _ in stub.said].count("finish") == 2


def test_tensorboards_own_reader_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for last in (1, 3):
        with watch(tmp_path, lines := [], names=("tensorboard",)) as each:
            for step in range(1, last + 1):
                each.log(f"epoch {step}", step, {"loss": 1 / step, "pgd20/eot:20/accuracy": 0.25})
                assert not lines
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "pgd20/eot:20/accuracy"}
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([1, 1 / 2, 1 / 3])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_a_warning_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *how: real(
        Path("/dev/full") if "tfevents" in self.name else self, *[each.replace("x", "w") for each in how]))
    with watch(tmp_path, lines := [], names=("tensorboard",)) as each:
        for step in (1, 2):
            each.log(f"epoch {step}", step, {"loss": 1})
    (line,) = lines
    assert line.startswith("warning: --log tensorboard: OSError: ")
    assert "No space left" in line
    assert capfd.readouterr().err == ""
