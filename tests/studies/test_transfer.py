"""Transfer matrix and path difference: what they share with the evaluation's protocols, and what must hold at all."""

from __future__ import annotations

import math
from pathlib import Path as File

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnabench.data.batches import ResidentSource
from rnabench.data.images import ImageSet
from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.scoring.interval import accuracy_interval, ratio_interval, wilson
from rnabench.seeding import stream
from rnabench.settings.attacks import parse_attack
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.studies.measure.path_difference import path_difference, path_pairs
from rnabench.studies.measure.subject import Held, Subject, at_rest, held, subjects
from rnabench.studies.measure.transfer import transfer
from rnabench.studies.measure.work import Work
from tests.helpers import AfterSteps, lively_model, random_images, run_evaluation

SPEC = parse_attack("pgd2")


def keys(**more: object) -> EvaluationSettings:
    return EvaluationSettings.model_validate({"draws": 3, "batch_size": 4, "sanity": False, "eps": "16/255", **more})


def work(images: ImageSet | None = None, size: int = 4, file: File | None = None, stop: StopRequest | None = None
         ) -> Work:
    source = ResidentSource(images or random_images(), torch.device("cpu"))
    return Work(source, size, Journal(file, "digest"), Silent(), StopRequest() if stop is None else stop)


def deployed(model: RandomizedClassifier, label: str = "net") -> Subject:
    return Subject(label, model, model)


def test_the_diagonal_is_the_same_path_protocol_of_the_attack_command() -> None:
    networks = [lively_model("bn+in"), lively_model("bn"), lively_model("gn2+ln", seed=3)]
    with at_rest(networks):
        matrix = transfer([deployed(n, str(i)) for i, n in enumerate(networks)], SPEC, keys(seed=5), 10, work())
    for place, network in enumerate(networks):
        outcome = run_evaluation(network, attacks=["pgd2"], protocols=["same-path"], eps="16/255", seed=5)[1]
        assert np.array_equal(matrix[place][place].after, outcome.correct)
        assert matrix[place][place].accuracy == (outcome.accuracy, *outcome.interval)


def test_a_random_target_is_scored_on_the_evaluations_fresh_paths() -> None:
    """Without an attack to speak of, accuracy off the diagonal is natural accuracy, draw by draw."""
    networks = [lively_model("bn"), lively_model("bn+in", seed=1)]
    with at_rest(networks):
        matrix = transfer([deployed(networks[0], "a"), deployed(networks[1], "b")], parse_attack("fgsm"),
                          keys(eps=0, step_size=0), 10, work())
    natural = run_evaluation(networks[1], attacks=["fgsm"], protocols=["same-path"])[0]
    assert np.array_equal(matrix[0][1].after, natural.correct)
    assert np.array_equal(matrix[0][1].before, natural.correct)
    assert matrix[0][1].success is None or matrix[0][1].success[0] == 0


def test_every_cell_is_consistent_with_itself() -> None:
    networks = [lively_model("bn+in"), lively_model("in", seed=1), lively_model("bn", seed=2)]
    with at_rest(networks):
        matrix = transfer([deployed(n, str(i)) for i, n in enumerate(networks)], SPEC, keys(), 10, work())
    for row in matrix:
        assert all(np.array_equal(cell.source, row[0].source) for cell in row)
        for cell in row:
            share, low, high = cell.accuracy
            assert 0 <= low <= share <= high <= 1
            counted = (cell.source & cell.before).sum()
            if cell.success is None:
                assert counted == 0
            else:  # by hand
                broken = (cell.source & cell.before & ~cell.after).sum()
                assert cell.success[0] == pytest.approx(broken / counted)


def test_a_network_twice_transfers_to_itself_as_it_is_attacked() -> None:
    model = lively_model("bn")
    with at_rest([model]):
        matrix = transfer([deployed(model, "a"), deployed(model, "b")], SPEC, keys(), 10, work())
    assert np.array_equal(matrix[0][1].after, matrix[0][0].after)


def test_a_stopped_study_goes_on_to_the_same_result(tmp_path: File) -> None:
    networks = [lively_model("bn+in"), lively_model("bn", seed=2)]
    chosen = [deployed(networks[0], "a"), deployed(networks[1], "b")]
    with at_rest(networks):
        whole = transfer(chosen, SPEC, keys(), 10, work())
        for times in range(1, 40):
            try:
                found = transfer(chosen, SPEC, keys(), 10, work(file=tmp_path / "x.jsonl", stop=AfterSteps(times % 4)))
                break
            except Stopped:
                continue
        else:
            pytest.fail("never came to an end")
    for first, second in zip(whole, found, strict=True):
        for a, b in zip(first, second, strict=True):
            assert np.array_equal(a.after, b.after)
            assert np.array_equal(a.source, b.source)


def test_no_difference_is_the_same_path() -> None:
    model = lively_model("bn+in")
    with at_rest([model]):
        curve = path_difference(deployed(model), SPEC, 3, keys(), 10, work())
        for number, (first, others) in enumerate(path_pairs(deployed(model), 3, 0)):
            assert others[0] == first
            alone = run_evaluation(model, attacks=["pgd2"], protocols=["same-path"], eps="16/255",
                                   defence=Held(model, first))[1]
            assert np.array_equal(curve.correct[:, number, 0], alone.correct[:, 0])
    assert curve.gain(0) == (0, 0, 0)
    for place in range(1, len(curve.differences)):
        assert curve.gain(place)[0] == pytest.approx(curve.accuracy(place)[0] - curve.accuracy(0)[0])


def test_the_mean_over_differences_is_the_paper_protocol() -> None:
    """Both estimate the accuracy on a fresh path after an attack on another, from draws of their own: they are no
    further apart than their intervals together allow, and nearer to each other than to the white-box accuracy."""
    model, images = lively_model("bn+in"), random_images(64)
    with torch.no_grad():  # labels that the network mostly agrees with, so that there is accuracy to lose
        pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
        labels = model.on(model.space.sample(stream(0, "teacher")))(pixels).argmax(1).numpy()
    images = ImageSet(images.classes, images.images, labels, images.indices)
    with at_rest([model]):
        curve = path_difference(deployed(model), SPEC, 20, keys(eps="4/255", batch_size=64, seed=1), 10,
                                work(images, size=64))
    paper = run_evaluation(model, images=images, attacks=["pgd2"], protocols=["paper"], eps="4/255", draws=20,
                           attack_paths=64, seed=1)[1]
    expected, low, high = curve.expected
    assert sum(curve.shares) == pytest.approx(1)
    together = math.hypot((high - low) / 2, (paper.interval[1] - paper.interval[0]) / 2)
    assert abs(expected - paper.accuracy) < together < 0.15
    assert abs(expected - paper.accuracy) < paper.accuracy - curve.accuracy(0)[0]


def test_path_difference_needs_paths() -> None:
    with pytest.raises(InvalidValue, match="a randomised network"):
        path_pairs(deployed(lively_model("bn")), 2, 0)


SPACES = st.lists(st.integers(1, 4), min_size=1, max_size=6).map(
    lambda sizes: PathSpace(tuple(map(str, range(len(sizes)))), tuple(tuple(map(str, range(n))) for n in sizes)))


@given(SPACES, st.integers(0, 2**31))
def test_paths_at_a_difference_are_at_that_difference(space: PathSpace, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    path = space.sample(generator)
    for difference in space.differences:
        other = space.at_difference(path, difference, generator)
        assert path.difference(other) == (difference,)
        assert all(0 <= c < len(o) for c, o in zip(other.rows[0], space.options, strict=True))
    with pytest.raises(InvalidValue, match="path difference"):
        space.at_difference(path, len(space.layers) + 1, generator)


@given(SPACES)
def test_shares_of_differences_by_counting(space: PathSpace) -> None:
    everything = list(space.enumerate())
    if len(everything) > 256:
        return
    counts = np.zeros(len(space.layers) + 1)
    for first in everything:
        for second in everything:
            counts[first.difference(second)[0]] += 1
    assert np.allclose(space.difference_shares, counts / counts.sum())


def test_pairs_are_uniform_among_those_of_a_difference() -> None:
    space = PathSpace(("a", "b", "c"), (("x", "y", "z"),) * 3)
    generator = torch.Generator().manual_seed(0)
    path = Path.of(0, 1, 2)
    others = [p for p in space.enumerate() if p.difference(path) == (2,)]
    drawn = [space.at_difference(path, 2, generator) for _ in range(300 * len(others))]
    counts = np.array([drawn.count(other) for other in others])
    assert counts.sum() == len(drawn)
    assert ((counts - 300) ** 2 / 300).sum() < 35  # chi-squared of 11 degrees of freedom: 0.02 % are above


def test_one_draw_for_all_layers_has_two_differences() -> None:
    space = PathSpace(("a", "b", "c"), (("x", "y"),) * 3, shared=True)
    assert space.differences == (0, 3)
    assert space.difference_shares == (0.5, 0, 0, 0.5)
    assert space.at_difference(Path.of(0, 0, 0), 3, torch.Generator()) == Path.of(1, 1, 1)


def test_subjects_are_split_by_normaliser_or_random_paths() -> None:
    networks = [("rna", lively_model("bn+in")), ("plain", lively_model("bn"))]
    assert [s.label for s in subjects(networks, "deployed", 0)] == ["rna", "plain"]
    split = subjects(networks, "normalisers", 0)
    assert [s.label for s in split] == ["rna: bn", "rna: in", "plain"]
    assert [str(s.path) for s in split] == ["000000", "111111", "None"]
    assert len(subjects(networks, "3", 0)) == 4
    assert not any(s.is_random for s in split)
    assert held("x", networks[0][1], Path.of(0, 1, 0, 1, 0, 1)).fixed() == Path.of(0, 1, 0, 1, 0, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_ratio_without_draws_is_wilsons(values: list[tuple[bool, bool]]) -> None:
    hits, counted = (np.array(side)[:, None] for side in zip(*values, strict=True))
    found = ratio_interval(hits, counted)
    if not counted.any():
        assert found is None
    else:
        share = (hits & counted).sum() / counted.sum()
        assert found == (share, *wilson(share, counted.sum()))


@pytest.mark.parametrize(("batches", "draws"), [(10, 5), (2, 20), (1, 20), (6, 1)])
def test_ratio_interval_covers_with_shared_draws(batches: int, draws: int) -> None:
    """Simulated: images of a batch share what a draw does; the interval holds the truth about as often as said."""
    rng, inside = np.random.default_rng(0), 0
    number = np.arange(120) % batches
    number.sort()
    for _ in range(300):
        level = np.clip(0.35 + 0.1 * rng.standard_normal((batches, draws)), 0, 1)[number]
        counted = rng.random((120, draws)) < 0.8
        found = ratio_interval(rng.random((120, draws)) < level, counted, number)
        assert found is not None
        inside += found[1] <= 0.35 <= found[2]
    assert inside / 300 > 0.9


def test_one_draw_of_one_batch_says_nothing_of_other_draws() -> None:
    ones = np.ones((5, 1), dtype=bool)
    assert ratio_interval(ones, ones, np.zeros(5, dtype=np.int64)) == (1, 0, 1)


def test_accuracy_interval_takes_shares_too() -> None:
    bits = np.random.default_rng(0).random((50, 1)) < 0.4
    assert accuracy_interval(bits.astype(float)) == accuracy_interval(bits)
