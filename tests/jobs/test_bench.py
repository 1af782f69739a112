"""The bench: every case in every format, and ratios that do not depend on the machine's speed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnabench.errors import InvalidValue, NumericalError
from rnabench.jobs import bench
from rnabench.jobs.bench import Case, measure
from rnabench.report.bench import display_rows, headings, lines, read_bench, write_bench
from rnabench.runtime.progress import Silent
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings

RESULTS = Path(__file__).parents[2] / "results"


def test_cases_ratios_and_an_earlier_result(tmp_path: Path) -> None:
    recipe = from_options(TrainingSettings, {"width": 2, "batch_size": 2, "steps": 1})
    result = measure(recipe, 2, "cpu", Silent(), ["fp32"])
    cases = {case["case"]: case for case in result["cases"]}
    assert len(cases) == 10
    assert all(len(case["seconds"]) == 2 and case["launches"] > 0 for case in cases.values())
    # the textbook's attack also makes the gradients of the weights
    assert cases["textbook step, bn"]["flops"] > cases["training step, bn"]["flops"]
    # a path for each image is the same arithmetic in convolutions; normalisers have hardly any
    batch, sample = (cases[f"training step, bn+in, path per {what}"]["flops"] for what in ("batch", "sample"))
    assert batch == cases["training step, bn"]["flops"] <= sample <= 1.02 * batch
    slower = copy.deepcopy(result)  # another machine, half as fast, on which IN got slower besides
    for case in slower["cases"]:
        factor = 3 if case["case"] == "training step, in" else 2
        case["seconds"] = [factor * each for each in case["seconds"]]
    write_bench(result, tmp_path)
    rows = display_rows(slower, read_bench(tmp_path / "bench.json"))
    assert all(len(row) == len(headings(True)) for row in rows)
    assert {row[0]: row[-1] for row in rows} == {name: "1.50 x" if name == "training step, in" else "1.00 x"
                                                 for name in cases}


@pytest.mark.parametrize("error", [NumericalError("--capture: something else"), torch.OutOfMemoryError("none left")])
def test_what_cannot_be_recorded_is_named_and_the_rest_measured(monkeypatch: pytest.MonkeyPatch, error: Exception
                                                                ) -> None:
    def work() -> Tensor:
        return torch.ones(9, 9) @ torch.ones(9, 9)

    def fails() -> None:
        raise error

    plain = [Case("textbook step, bn", 1, work), Case("training step, bn", 1, work)]
    monkeypatch.setattr(bench, "_cases", lambda *_: [*plain, Case("training step, bn, captured", 1, fails, work)])
    result = measure(TrainingSettings(), 1, "cpu", Silent())
    assert [each["case"] for each in result["cases"]] == [each.name for each in plain]
    assert f"Not measured: training step, bn, captured, fp32: {error}." in list(lines(result))
    monkeypatch.setattr(bench, "_cases", lambda *_: [*plain, Case("training step, in", 1, fails)])
    with pytest.raises(type(error)):  # what is not about recording ends the bench
        measure(TrainingSettings(), 1, "cpu", Silent())


def test_of_some_cases_the_others_are_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the two that ratios refer to."""
    made: list[str] = []

    def case(name: str) -> Case:
        def work() -> None:
            if name not in made:
                made.append(name)
            torch.ones(9, 9).sum()
        return Case(name, 1, work)

    names = ["textbook step, bn", "training step, bn", "training step, in", "PGD-20, bn", "APGD-10, bn"]
    monkeypatch.setattr(bench, "_cases", lambda *_: map(case, names))
    result = measure(TrainingSettings(), 1, "cpu", Silent(), parts=[" PGD-20"])
    assert [each["case"] for each in result["cases"]] == made == [*names[:2], "PGD-20, bn"]
    with pytest.raises(InvalidValue, match="--cases: 'step, gn' is not valid"):
        measure(TrainingSettings(), 1, "cpu", Silent(), parts=["step, gn"])


def test_wrong_values_are_one_line(tmp_path: Path) -> None:
    recipe = from_options(TrainingSettings, {"width": 2, "batch_size": 2})
    for repeats, formats in ((0, []), (1, ["fp8"]), (1, ["tf32"])):
        with pytest.raises(InvalidValue):
            measure(recipe, repeats, "cpu", Silent(), formats)
    for text in ('{"cases": [{"case": "nothing that was measured"}]}', '{"cases": []}'):
        (tmp_path / "bench.json").write_text(text)
        with pytest.raises(InvalidValue, match="--against"):
            read_bench(tmp_path / "bench.json")


@pytest.mark.parametrize("folder", ["bench-h200", "bench-h200-compiled"])
def test_older_results_are_read(folder: str) -> None:
    """They have the fastest round alone; the ratios are those of the table that was made of them."""
    result = read_bench(RESULTS / folder / "bench.json")
    table = (RESULTS / folder / "bench.md").read_text()
    for row in display_rows(result):
        (line,) = (each for each in table.splitlines() if each.startswith(f"| {row[0]} "))
        cells = [cell.strip() for cell in line.split("|")]
        assert row[2] == cells[2], "milliseconds"
        assert "step," not in row[0] or row[-1] == cells[5]
