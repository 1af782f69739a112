"""Corrupted images in the study: the evaluation's answers on a corrupted data set, and means of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnabench.data.corrupt import corrupt_set
from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.scoring.outcome import from_bits
from rnabench.settings.base import from_options
from rnabench.settings.corruptions import CORRUPTIONS, parse_corruption
from rnabench.studies.corruptions import Corruptions
from rnabench.studies.measure.subject import at_rest
from tests.helpers import lively_model, random_images, run_evaluation
from tests.studies.test_rows_and_figures import model as described
from tests.studies.test_rows_and_figures import record as recorded
from tests.studies.test_transfer import work

IMAGES = random_images(24, size=16)
SMALL: dict[str, Any] = {"corruptions": ("contrast", "gaussian-noise"), "severities": (1, 4), "draws": 3}


def record(*networks: tuple[str, RandomizedClassifier], size: int = 12, **keys: Any) -> dict[str, Any]:
    study = Corruptions(**{**SMALL, "batch_size": size, **keys})
    with at_rest([model for _, model in networks]):
        results = study.compute(networks, 10, work(IMAGES, size=size))
    found = recorded(results, *(described(label, "bn") for label, _ in networks)) | {"attack": None}
    return found | {"keys": found["keys"] | study.model_dump(mode="json")}


def pair() -> tuple[tuple[str, RandomizedClassifier], tuple[str, RandomizedClassifier]]:
    return ("one", lively_model("bn")), ("two", lively_model("bn+in", seed=1))


def right(cell: dict[str, Any]) -> Any:
    return np.stack([from_bits(draw) for draw in cell["correct"]], axis=1)


@pytest.mark.parametrize("space", ["bn", "bn+in", "bn-batch"])
def test_a_cell_is_the_natural_accuracy_on_the_corrupted_data_set(space: str) -> None:
    model = lively_model(space)
    (found,) = record(("net", model))["results"]["networks"]
    how: dict[str, Any] = {"attacks": ["fgsm"], "batch_size": 12, "draws": 3}
    assert np.array_equal(right(found["clean"]), run_evaluation(model, images=IMAGES, **how)[0].correct)
    for corruption in found["corruptions"]:
        for cell in corruption["severities"]:
            asked = parse_corruption(f"{corruption['name']}:{cell['severity']}")
            natural = run_evaluation(model, images=corrupt_set(IMAGES, asked, 0), **how)[0]
            assert np.array_equal(right(cell), natural.correct)
            assert (cell["accuracy"], tuple(cell["interval95"])) == (natural.accuracy, natural.interval)


def test_how_many_images_are_worked_on_at_once_does_not_matter() -> None:
    assert record(*pair(), size=4)["results"] == record(*pair(), size=11)["results"]


def test_means_are_of_the_rows() -> None:
    found = record(*pair(), baseline="one")
    rows = Corruptions.rows(found)

    def error(model: str, corruption: str) -> float:
        return float(np.mean([1 - row["accuracy"] for row in rows if row["severity"] in (1, 4)
                              and (row["model"], row["corruption"]) == (model, corruption)]))

    def mean_row(model: str, corruption: str) -> dict[str, Any]:
        (row,) = (row for row in rows if row["severity"] == "mean"
                  and (row["model"], row["corruption"]) == (model, corruption))
        return row

    names = SMALL["corruptions"]
    for model in ("one", "two"):
        for name in names:
            assert 1 - mean_row(model, name)["accuracy"] == pytest.approx(error(model, name))
        assert 1 - mean_row(model, "mean")["accuracy"] == pytest.approx(np.mean([error(model, n) for n in names]))
    expected = np.mean([error("two", name) / error("one", name) for name in names])
    assert mean_row("two", "mean")["relative_error"] == pytest.approx(expected)
    assert all(mean_row("one", name)["relative_error"] == 1 for name in (*names, "mean"))
    one, two = found["results"]["networks"]
    assert one["gain"] is None
    assert two["gain"][0] == pytest.approx(one["error"][0] - two["error"][0])
    assert len({(row["model"], row["corruption"], row["severity"]) for row in rows}) == len(rows)


def test_every_network_and_corruption_is_shown() -> None:
    found = record(*pair())
    titles = [title for title, _, _ in Corruptions.tables(found)]
    assert titles == ["Mean corruption error", "Error by corruption, mean over severities, %",
                      "Accuracy of one by severity, %", "Accuracy of two by severity, %"]
    assert [line[0] for line in Corruptions.tables(found)[1][2]] == list(SMALL["corruptions"])
    left, across = Corruptions.figures(found)[""].axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(SMALL["corruptions"])
    assert [label.get_text() for label in across.get_xticklabels()] == ["clean", "1", "4"]
    for axes in (left, across):
        assert axes.get_legend_handles_labels()[1] == ["one", "two"]
        assert axes.get_xlabel()
    said = " ".join(Corruptions.findings(found))
    assert "one: wrong on " in said
    assert "than one's (gain " in said


def test_the_first_training_of_a_recipes_baseline_is_meant() -> None:
    one, two = pair()
    results = record(("RNA.s0", one[1]), two, baseline="RNA")["results"]
    assert results["reference"] == "RNA.s0"
    with pytest.raises(InvalidValue, match="--baseline: 'tow' is not valid; expected one of one, two; did you mean"):
        record(one, two, baseline="tow")
    assert list(Corruptions(baseline="tow").misfits({"one": 1, "two": 2})) == [
        "baseline: 'tow' is not valid; expected one of one, two; did you mean 'two'?"]


def test_all_corruptions_are_those_that_there_are() -> None:
    assert Corruptions().chosen == Corruptions(corruptions="all").chosen == tuple(CORRUPTIONS)
    assert Corruptions().model_dump(mode="json")["corruptions"] == list(CORRUPTIONS)  # as records and digests have it
    assert Corruptions(corruptions="fog").model_dump(mode="json")["corruptions"] == ["fog"]
    assert Corruptions(corruptions="fog+snow").corruptions == Corruptions(corruptions=["fog", "snow"]).corruptions
    assert Corruptions(severities="1-5").severities == Corruptions().severities == (1, 2, 3, 4, 5)
    assert Corruptions(severities=3).severities == (3,)
    assert Corruptions(corruptions="fog+snow", severities="2,3", draws=7).passes(9, 1, 10) == (0, 35)


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("corruptions", "frog+snow", "did you mean 'fog'"), ("corruptions", "fog+fog", "each corruption once"),
    ("corruptions", [], "by name"), ("corruptions", 3, "by name"), ("severities", "0-3", "from 1 to 5"),
    ("severities", "3,1", "growing"), ("severities", "high", "from 1 to 5"), ("severities", [], "from 1 to 5")])
def test_wrong_settings_are_told(key: str, value: Any, expected: str) -> None:
    with pytest.raises(InvalidSettings, match=expected):
        from_options(Corruptions, {key: value})
