"""Accuracy by batch size: flat where nothing is shared in a batch, the ordinary evaluation where all is in one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnabench.data.batches import Batch
from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.scoring.outcome import from_bits
from rnabench.settings.base import from_options
from rnabench.studies.batch_size import BatchSize
from rnabench.studies.measure.batch_size import by_batch_size, statistics_of
from rnabench.studies.measure.subject import at_rest
from rnabench.studies.measure.work import Arrays
from tests.helpers import lively_model, random_images, run_evaluation
from tests.studies.test_rows_and_figures import model as described
from tests.studies.test_rows_and_figures import record
from tests.studies.test_transfer import SPEC, keys, work


def points(model: RandomizedClassifier, statistics: str, *sizes: int, attacked: str | None = None, draws: int = 1,
           count: int = 12) -> list[dict[str, Any]]:
    with at_rest([model]):
        return by_batch_size("net", model, statistics, attacked or statistics, sizes, SPEC, keys(draws=draws), 10,
                             work(random_images(count)))


def right(point: dict[str, Any], images: str = "attacked") -> Any:
    return np.stack([from_bits(draw) for draw in point[images]["correct"]], axis=1)


@pytest.mark.parametrize(("space", "statistics"), [("gn2", "own"), ("bn", "running"), ("gn2+in", "own"),
                                                   ("robust", "running")])
def test_what_shares_nothing_in_a_batch_is_flat_to_the_image(space: str, statistics: str) -> None:
    model = lively_model(space)
    found = points(model, statistics, 1, 3, 5, 12, draws=2)
    for point in found:
        for images in ("clean", "attacked"):
            assert np.array_equal(right(point, images), right(found[-1], images))
    assert all(point["attacked"]["change"][0] == 0 for point in found[:-1])
    assert found[-1]["attacked"]["change"] is None


@pytest.mark.parametrize("space", ["bn", "bn-batch", "robust", "bn+in"])
def test_a_size_is_the_ordinary_evaluation_in_such_batches(space: str) -> None:
    model = lively_model(space)
    found = points(model, "own", 4, 12, draws=3)
    for point in found:
        natural, attacked = run_evaluation(model, attacks=["pgd2"], protocols=["paper"], eps="16/255",
                                           batch_size=point["size"])
        assert np.array_equal(right(point, "clean"), natural.correct)
        assert np.array_equal(right(point, "attacked"), attacked.correct)
        assert point["attacked"]["accuracy"] == attacked.accuracy
    natural, attacked = run_evaluation(model, attacks=["pgd2"], protocols=["paper"], eps="16/255", batch_size=12)
    assert tuple(found[-1]["attacked"]["interval95"]) == attacked.interval


def test_statistics_of_the_batch_are_bn_batchs() -> None:
    one, other = lively_model("bn"), lively_model("bn-batch")
    other.load_state_dict(one.state_dict())
    for ours, theirs in zip(points(one, "batch", 3, 12), points(other, "own", 3, 12), strict=True):
        assert np.array_equal(right(ours), right(theirs))
    assert np.array_equal(right(points(other, "running", 4)[0]), right(points(one, "own", 4)[0]))


def test_the_attack_may_be_made_with_other_statistics() -> None:
    """Scored with running ones, what was made through running ones is a white-box attack, and all else is not."""
    model = lively_model("bn")
    white, other = points(model, "running", 12)[0], points(model, "running", 12, attacked="batch")[0]
    assert np.array_equal(right(white, "clean"), right(other, "clean"))
    assert right(white).sum() <= right(other).sum()


def single_pixel() -> RandomizedClassifier:
    """The last normaliser has a 1x1 map."""
    norm = next(module for module in lively_model("bn").modules() if type(module).__name__ == "BatchGroupNorm")
    return RandomizedClassifier(nn.Sequential(nn.Conv2d(3, 8, 8), norm, nn.Flatten(), nn.Linear(8, 10))).eval()


def test_where_a_network_cannot_run_there_is_a_reason_and_no_number() -> None:
    alone, pair, whole = points(single_pixel(), "batch", 1, 2, 12)
    assert "accuracy" not in str(alone)
    assert "2 images or more" in alone["reason"]
    assert pair["reason"] is None
    assert whole["reason"] is None
    assert points(single_pixel(), "running", 1)[0]["reason"] is None
    (rest,) = points(single_pixel(), "batch", 11)  # 12 images: one remains
    assert rest["reason"] is not None
    drawn = record({"curves": [{"label": "bn", "statistics": "batch", "points": [alone, pair, whole]}]},
                   described("bn", "bn"))
    assert BatchSize.tables(drawn)[0][2][0] == ["1", "-", "-", "-", "-"]
    assert [row["accuracy"] is None for row in BatchSize.rows(drawn)] == [True] * 2 + [False] * 4
    assert any(alone["reason"] in line for line in BatchSize.findings(drawn))
    lines = BatchSize.figures(drawn)[""].axes[0].get_lines()
    assert all(list(line.get_xdata()) == [2, 12] for line in lines)


def test_which_statistics_a_network_has() -> None:
    asked = ("running", "batch")
    for space in ("bn", "bn-batch", "robust", "bn+in", "mbn"):
        assert statistics_of(lively_model(space), asked) == asked
    for space in ("gn2", "in", "gn2+ln"):
        assert statistics_of(lively_model(space), asked) == ("own",)


def test_a_network_is_left_as_it_was() -> None:
    model, images = lively_model("bn"), torch.rand(4, 3, 8, 8)
    before = model(images)
    for statistics in ("running", "running-mean", "batch"):
        points(model, statistics, 3)
    assert torch.equal(model(images), before)


@pytest.mark.parametrize(("size", "at_once"), [(1, 6), (2, 6), (4, 4), (5, 5)])
def test_images_of_a_batch_stay_together_when_memory_runs_out(size: int, at_once: int) -> None:
    seen: list[int] = []

    def on_batch(batch: Batch, first: int) -> Arrays:
        if len(batch.indices) > 6:
            raise RuntimeError("can't allocate memory")
        seen.append(len(batch.indices))
        return {"first": np.full(len(batch.indices), first)}
    found = work(size=12)("x", on_batch, together=size)
    assert len(found["first"]) == 12
    assert all(count % size == 0 for count in seen[:-1])
    assert max(seen) == at_once
    with pytest.raises(InvalidValue, match="memory ran out"):
        work(size=12)("x", on_batch, together=8)


@given(st.sets(st.integers(1, 300), min_size=1, max_size=6))
def test_sizes_are_read_as_they_are_written(sizes: set[int]) -> None:
    growing = tuple(sorted(sizes))
    assert BatchSize(sizes=growing) == BatchSize.model_validate({"sizes": ",".join(map(str, growing))})
    for order in itertools.islice(itertools.permutations(growing), 1, 3):
        with pytest.raises(ValueError, match="growing numbers"):
            BatchSize(sizes=order)


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("sizes", "0,4", "growing numbers"), ("sizes", "4,4", "growing numbers"), ("sizes", "four", "growing numbers"),
    ("modes", "running,running", "different ones"), ("modes", "runing", "did you mean 'running'"),
    ("attack_mode", "batches", "did you mean 'batch'")])
def test_wrong_settings_are_told(key: str, value: str, expected: str) -> None:
    with pytest.raises(InvalidSettings, match=expected):
        from_options(BatchSize, {key: value})
