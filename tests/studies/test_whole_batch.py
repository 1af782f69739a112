"""Studies of networks whose predictions depend on batch mates work on whole batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnabench.attack.losses import cross_entropy
from rnabench.data.batches import Batch, ResidentSource
from rnabench.errors import InvalidValue
from rnabench.path.path import Path
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.settings.attacks import parse_attack
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.studies.measure.smoothness import Viewed
from rnabench.studies.measure.subject import Subject, at_rest, held
from rnabench.studies.measure.transfer import transfer
from rnabench.studies.measure.work import Arrays, Work
from tests.helpers import lively_model, random_images, run_evaluation

KEYS = EvaluationSettings(draws=3, batch_size=4, sanity=False, seed=5)


def work(whole: bool = True) -> Work:
    source = ResidentSource(random_images(), torch.device("cpu"))
    return Work(source, 4, Journal(None, "digest"), Silent(), StopRequest(), whole=whole)


def test_a_subject_knows() -> None:
    mixing, plain = lively_model("bn+bn-batch"), lively_model("bn+in")
    assert Subject("a", mixing, mixing).batch_dependent
    assert held("a", mixing, Path.of(*[0] * 6)).batch_dependent
    assert not held("b", plain, Path.of(*[0] * 6)).batch_dependent


def test_the_diagonal_is_the_evaluations_and_so_is_every_networks_grouping() -> None:
    networks = [lively_model("bn-batch+robust"), lively_model("bn+in"), lively_model("robust")]
    with at_rest(networks):
        matrix = transfer([Subject(str(k), each, each) for k, each in enumerate(networks)], parse_attack("pgd2"), KEYS,
                          10, work())
    for place, network in enumerate(networks):
        natural, attacked = run_evaluation(network, attacks=["pgd2"], protocols=["same-path"], seed=5)
        assert np.array_equal(matrix[place][place].after, attacked.correct)
        assert np.array_equal(matrix[(place + 1) % 3][place].before, natural.correct)
    groups = matrix[0][1].groups
    assert groups is not None
    assert groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_when_memory_runs_out_a_batch_is_divided_only_where_it_may_be() -> None:
    def on_batch(batch: Batch, first: int) -> Arrays:
        if len(batch.indices) > 2:
            raise torch.OutOfMemoryError("planted")
        return {"first": np.full(len(batch.indices), first)}

    assert work(whole=False)("x", on_batch)["first"].tolist() == [k // 2 * 2 for k in range(12)]
    with pytest.raises(InvalidValue, match="--batch-size: 4 is not valid; expected a smaller one"):
        work()("x", on_batch)


@pytest.mark.parametrize("space", ["robust", "bn"])
def test_at_its_origin_a_surface_is_the_images_loss_among_its_mates(space: str) -> None:
    model, place = lively_model(space), work()
    images = next(place.source.in_order(4, start=1))
    path = model.space.sample(torch.Generator())
    with at_rest([model]):
        grid = Viewed("a", model, [path], True).surface_at(images.part(2, 3), 6, 0.1, 3, 0, place)
        expected = cross_entropy(model(images.images), images.labels)[2]
    assert grid[1][1] == pytest.approx(float(expected), rel=1e-4)
