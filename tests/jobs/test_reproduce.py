"""A recipe in pieces: stopped anywhere, cell by cell, or by several processes at once, it ends with the same tables."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rnabench.cli.main import main
from rnabench.errors import Busy, InvalidSettings, InvalidValue
from rnabench.evaluation.cost import Speed
from rnabench.evaluation.engine import evaluate
from rnabench.jobs.evaluate import attack_some, cell_journal
from rnabench.jobs.plan import forecast
from rnabench.jobs.reproduce import Place, Reproduced, reproduce, target
from rnabench.report.record_file import read_record, read_study
from rnabench.runtime.locks import claimed
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.recipe import Recipe
from rnabench.settings.recipe_loading import load_recipe
from tests.helpers import AfterSteps, full_evaluation, lively_model, visible

TEXT = """\
name: tiny
title: Tiny
train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 16, batch_size: 32}
models: {bn: {space: bn}, bn+in: {space: bn+in}}
baseline: bn
evaluate: {attacks: [fgsm, pgd2], protocols: [paper, "eot:2"], n_examples: 8, n_examples_of: {pgd2 / eot:2: 6},
           batch_size: 4, draws: 2, sanity: false}
figures: {matrix: {study: transfer-matrix, models: [bn, bn+in], attack: fgsm, n_examples: 8, batch_size: 4, draws: 2}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(TEXT)
    return load_recipe(file)


def place(folder: Path) -> Place:
    return Place(folder / "runs", folder / "results", "cpu")


def run(recipe: Recipe, folder: Path, stop: StopRequest | None = None, only: str | None = None) -> Reproduced:
    chosen = recipe if only is None else recipe.only(only)
    return reproduce(recipe, chosen, place(folder), Silent(), StopRequest() if stop is None else stop)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduced]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(recipe, folder)


def numbers(found: Reproduced) -> Any:
    """Everything but when, how long it took, and where."""
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(part) for key, part in value.items()
                    if not key.startswith("seconds") and key not in ("images_per_second", "made")}
        return [without(part) for part in value] if isinstance(value, list) else value

    table = {name: record.content() for name, record in found.table.items()}
    return json.loads(json.dumps(without({"table": table, "figures": found.figures})))


def test_interrupted_ten_times_it_ends_the_same(recipe: Recipe, whole: tuple[Path, Reproduced], tmp_path: Path) -> None:
    moments, stops = random.Random(0), 0
    while True:
        try:
            found = run(recipe, tmp_path, AfterSteps(moments.randint(1, 4)) if stops < 10 else None)
            break
        except Stopped:
            stops += 1
    assert stops == 10
    assert numbers(found) == numbers(whole[1])
    assert visible(tmp_path / "results") == {"bn+in.json", "bn.json", "matrix.json"}


def test_cell_by_cell_it_ends_the_same(recipe: Recipe, whole: tuple[Path, Reproduced], tmp_path: Path) -> None:
    cells = [f"model={model},attack={attack}" for model in ("bn+in", "bn") for attack in ("pgd2", "fgsm", "natural")]
    for only in cells[:-1]:
        found = run(recipe, tmp_path, only=only)
        assert found.missing
        assert not found.table
    assert run(recipe, tmp_path, only=cells[-1]).missing == ()
    assert numbers(run(recipe, tmp_path)) == numbers(whole[1])


def test_only_names_what_is_there(recipe: Recipe) -> None:
    chosen = recipe.only("matrix,model=bn,attack=fgsm")
    assert (chosen.table, chosen.attacks, list(chosen.figures)) == (("bn",), ("fgsm",), ["matrix"])
    assert recipe.only("model=bn").attacks is None
    assert recipe.only("table").table == recipe.table
    for bad in ("model=x", "attack=pgd3", "figure9", "modle=bn", ""):
        with pytest.raises(InvalidValue, match="--only"):
            recipe.only(bad)


def test_what_another_recipe_has_attacked_is_not_attacked_again(whole: tuple[Path, Reproduced], tmp_path: Path) -> None:
    """Whatever it calls the network, and whether there is a baseline; another evaluation is another record."""
    class Forbidden(Silent):
        def begin(self, title: str, total: int, done: int = 0) -> None:
            raise AssertionError(title)

    file = tmp_path / "other.yaml"
    file.write_text(TEXT.replace("baseline: bn\n", "").replace("{bn: {", "{plain: {").split("figures:")[0])
    recipe, folder = load_recipe(file), whole[0]
    beside = Place(folder / "runs", folder / "other", "cpu")
    assert [piece.state for piece in forecast(recipe, beside)] == ["done"] * 4
    found = reproduce(recipe, recipe, beside, Forbidden(), StopRequest()).table
    assert list(found) == ["plain", "bn+in"]
    assert found["plain"].label == "plain"
    for name, record in zip(("bn", "bn+in"), found.values(), strict=True):
        assert record.results == whole[1].table[name].results
        assert record.baseline is None
        assert read_record(folder / "other" / f"{record.label}.json") == record
    file.write_text(file.read_text().replace("draws: 2", "draws: 3"))
    changed = load_recipe(file)
    assert [piece.state for piece in forecast(changed, beside)][2:] == ["0 of 3 cells", "0 of 5 cells"]


@pytest.mark.slow
def test_two_processes_do_every_cell_once(recipe: Recipe, whole: tuple[Path, Reproduced], tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT)
    command = [sys.executable, "-m", "rnabench", "reproduce", str(file), "--runs", str(tmp_path / "runs"), "--out",
               str(tmp_path), "--device", "cpu"]
    code = f"import torch; torch.set_num_threads(1)\nfrom rnabench.cli.main import main\nmain({command[3:]!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    trained = [line for text in said for line in text.splitlines() if line.startswith("training ")]
    assert len(trained) == 2, said
    tables = Reproduced({name: read_record(tmp_path / "tiny" / f"{name}.json") for name in recipe.table},
                        {"matrix": read_study(tmp_path / "tiny" / "matrix.json")}, ())
    assert numbers(tables) == numbers(whole[1])


def test_a_cell_that_another_process_is_at_is_left_to_it(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"attacks": ["fgsm", "pgd2"], "protocols": ["paper"], "sanity": False}
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Silent):
        def begin(self, title: str, total: int, done: int = 0) -> None:
            if "fgsm" in title:
                inside.set()
                go_on.wait(60)

    outcomes: list[Any] = []
    other = threading.Thread(target=lambda: outcomes.append(
        full_evaluation(lively_model(), folder=tmp_path, progress=Slow(), **keys)))
    other.start()
    assert inside.wait(60)
    with pytest.raises(Busy, match="fgsm"):
        full_evaluation(lively_model(), folder=tmp_path, **keys)
    go_on.set()
    other.join()
    alone = full_evaluation(lively_model(), **keys)
    assert [o.correct.tolist() for o in outcomes[0].outcomes] == [o.correct.tolist() for o in alone.outcomes]
    for file in (tmp_path / "progress").glob("*.jsonl"):
        assert len(file.read_text().splitlines()) == 1 + 3, file  # its head, and each of the three batches once


def test_two_at_once_do_not_both_give_up(tmp_path: Path) -> None:
    """Each finds a cell taken; whoever comes last has all that there is to have."""
    keys: dict[str, object] = {"attacks": ["fgsm", "pgd2"], "protocols": ["paper"], "sanity": False}

    class Other(Silent):
        """Holds the clean images until the first attack begins, then does them."""

        def begin(self, title: str, total: int, done: int = 0) -> None:
            if "fgsm" in title and holder.is_alive():
                go_on.set()
                holder.join()

    inside, go_on = threading.Event(), threading.Event()

    class Slow(Silent):
        def begin(self, title: str, total: int, done: int = 0) -> None:
            if "natural" in title:
                inside.set()
                go_on.wait(60)
            else:
                raise KeyboardInterrupt

    def other() -> None:
        with pytest.raises(KeyboardInterrupt):
            full_evaluation(lively_model(), folder=tmp_path, progress=Slow(), **keys)

    holder = threading.Thread(target=other)
    holder.start()
    assert inside.wait(60)
    found = full_evaluation(lively_model(), folder=tmp_path, progress=Other(), **keys)
    assert [o.correct.tolist() for o in found.outcomes] == [
        o.correct.tolist() for o in full_evaluation(lively_model(), **keys).outcomes]


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    thing = tmp_path / "thing"
    code = ("import pathlib, time\nfrom rnabench.runtime.locks import claimed\n"
            f"with claimed(pathlib.Path({str(thing)!r}), 'it'):\n    print('mine', flush=True)\n    time.sleep(60)")
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    with pytest.raises(Busy, match="it: another process"), claimed(thing, "it"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with claimed(thing, "it"):
        pass
    assert not visible(tmp_path)


def test_a_limit_takes_the_first_images(recipe: Recipe, whole: tuple[Path, Reproduced]) -> None:
    model = lively_model()
    keys: dict[str, Any] = {"attacks": ["fgsm", "pgd2"], "protocols": ["paper", "eot:2"], "sanity": False}
    everything = full_evaluation(model, **keys).outcomes
    for limits, expected in (({"pgd2": 6}, {"pgd2": 6}), ({"eot:2": 8}, {"eot:2": 8}),
                             ({"eot:2": 8, "pgd2 / eot:2": 2}, {"eot:2": 8, ("pgd2", "eot:2"): 2})):
        some = full_evaluation(model, n_examples_of=limits, **keys).outcomes
        for one, all_ in zip(some, everything, strict=True):
            count = min(expected.get(name, 12) for name in (*all_.key, all_.key))  # type: ignore[attr-defined]
            assert one.correct.tolist() == all_.correct[:count].tolist(), one.key


def test_a_plan_runs_nothing_and_knows_what_is_there(recipe: Recipe, whole: tuple[Path, Reproduced], tmp_path: Path
                                                      ) -> None:
    pieces = forecast(recipe, place(tmp_path))
    assert not visible(tmp_path)
    assert [(piece.kind, piece.name) for piece in pieces] == [
        ("train", "bn"), ("train", "bn+in"), ("attack", "bn"), ("attack", "bn+in"), ("study", "matrix")]
    assert all(piece.seconds > 0 for piece in pieces)
    assert all((piece.state, piece.seconds) == ("done", 0) for piece in forecast(recipe, place(whole[0])))


def test_a_plan_is_for_an_idle_machine_and_says_how_busy_this_one_is(recipe: Recipe, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for load in (1.0, 8.0):
        monkeypatch.setattr("rnabench.jobs.durations.speed", lambda *_, load=load: Speed(1.0, 0.5, load))
        found.append(forecast(recipe, place(tmp_path)))
    for idle, busy in zip(*found, strict=True):
        assert busy.seconds == idle.seconds == idle.now > 0
        assert busy.now == pytest.approx(8 * idle.now)


def test_the_plan_on_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TEXT)
    with pytest.raises(SystemExit) as end:
        main(["reproduce", str(file), "--plan", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "0 of 5 cells" in shown  # natural, two attacks, two protocols
    assert "left: about" in shown


def test_what_another_process_finished_meanwhile_is_not_done_again(recipe: Recipe, whole: tuple[Path, Reproduced],
                                                                   tmp_path: Path) -> None:
    """Between looking for the record and beginning a cell, another process may write the record and tidy up."""
    here = place(tmp_path)
    run(recipe, tmp_path, only="model=bn,attack=natural")
    found, file = target(recipe, here, "bn", recipe.evaluate), here.record("bn")

    class Other(Silent):
        def begin(self, title: str, total: int, done: int = 0) -> None:
            raise AssertionError("the cell was begun again")

    journal = cell_journal(found, recipe.evaluate, file)
    attack_some(found, recipe.evaluate, file, lambda cell: True, Silent(), StopRequest())  # the other process
    with pytest.raises(Busy, match="just finished"), journal.claimed(("fgsm", "any", "x")):
        pass
    with pytest.raises(Busy):
        evaluate(found.module, found.defence, found.data.source, 10, recipe.evaluate, journal, Other(), StopRequest())
    assert visible(tmp_path / "results") == {"bn.json"}


def test_cumulative_attacks_are_one_piece(tmp_path: Path) -> None:
    """Each needs what all before it have broken; so a part of them is all of them, and adding one begins anew."""
    file = tmp_path / "tiny.yaml"
    text = TEXT.replace("n_examples_of: {pgd2 / eot:2: 6}", "cumulative: true").replace(", bn+in: {space: bn+in}", "")
    file.write_text(text[: text.index("figures:")])
    recipe = load_recipe(file)
    found = run(recipe, tmp_path, only="attack=pgd2")
    assert not found.missing
    assert numbers(found) == numbers(run(recipe, tmp_path / "again"))
    file.write_text(file.read_text().replace("cumulative: true", "cumulative: true, n_examples_of: {fgsm: 2}"))
    with pytest.raises(InvalidSettings, match="n_examples_of"):
        load_recipe(file)
