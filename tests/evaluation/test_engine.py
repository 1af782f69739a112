"""Protocols and scoring: replayable, resumable, and honest about what is random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rnabench.data.batches import Batch
from rnabench.defence.foreign import ForeignModel
from rnabench.defence.importing import import_model
from rnabench.errors import InvalidValue, ModelError, NumericalError
from rnabench.evaluation.batch import Evaluator, check_images, most_frequent
from rnabench.runtime.stopping import Stopped
from rnabench.scoring.outcome import Outcome, bits, from_bits, path_groups
from rnabench.settings.attacks import parse_attack
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import parse_protocol
from tests.helpers import AfterSteps, Lambda, lively_model, random_images, run_evaluation

PROTOCOLS = ["paper", "same-path", "resample", "eot:3"]


def same(first: list[Outcome], second: list[Outcome]) -> bool:
    return len(first) == len(second) and all(
        (a.attack, a.protocol) == (b.attack, b.protocol) and np.array_equal(a.correct, b.correct)
        and np.array_equal(a.majority, b.majority) and np.array_equal(a.reported, b.reported)
        for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_same_seed_same_outcomes(granularity: str) -> None:
    runs = [run_evaluation(lively_model(), protocols=PROTOCOLS, granularity=granularity, seed=seed)
            for seed in (4, 4, 5)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_with_per_sample_paths_the_batch_size_does_not_matter() -> None:
    runs = [run_evaluation(lively_model(), protocols=PROTOCOLS, granularity="sample", batch_size=size)
            for size in (1, 5, 12)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_worst_is_below_mean_and_everything_is_a_share() -> None:
    for outcome in run_evaluation(lively_model(), protocols=PROTOCOLS, draws=6):
        assert 0 <= outcome.worst <= outcome.accuracy <= 1
        low, high = outcome.interval
        assert low <= outcome.accuracy <= high


def test_same_path_predicts_with_the_attacked_path() -> None:
    outcomes = run_evaluation(lively_model(), protocols=["same-path"])
    assert outcomes[1].correct.shape == (12, 1)
    assert np.array_equal(outcomes[1].correct[:, 0], outcomes[1].reported)


def test_a_deterministic_model_is_attacked_once_and_has_one_draw() -> None:
    natural, attacked = run_evaluation(lively_model("bn"), protocols=PROTOCOLS)
    assert (attacked.attack, attacked.protocol) == ("pgd2", "any")
    assert natural.correct.shape == attacked.correct.shape == (12, 1)
    assert natural.groups is None


def test_scoring_draws_are_fresh_and_never_the_attacks() -> None:
    """The attacker's path is not among the scoring paths (a fixed seed, 64 paths)."""
    model, seen = lively_model(), []

    class Spy:
        space = model.space

        def on(self, path):  # type: ignore[no-untyped-def]
            seen.append(path)
            return model.on(path)

    keys = EvaluationSettings(attacks=("pgd2",), protocols=("paper",), draws=5)
    data = random_images(4)
    batch = Batch(torch.from_numpy(data.images).permute(0, 3, 1, 2) / 255, torch.from_numpy(data.labels), [0, 1, 2, 3])
    evaluator, groups = Evaluator(Spy(), keys, 10), path_groups(0, 4, 2)  # type: ignore[arg-type]
    images, attacked = evaluator.attacker(parse_attack("pgd2"), parse_protocol("paper"), batch, groups)
    assert set(seen) == {attacked}  # frozen for the whole attack
    seen.clear()
    evaluator.predictions(images, None, batch, groups)
    assert len(set(seen)) == 5
    assert attacked not in seen


def test_evaluation_leaves_the_model_as_it_was() -> None:
    model = lively_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    run_evaluation(model, protocols=["paper", "eot:2"])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_a_stopped_evaluation_goes_on_and_ends_the_same(tmp_path: Path, granularity: str) -> None:
    whole = run_evaluation(lively_model(), protocols=["paper", "eot:2"], granularity=granularity)
    stops = 0
    while True:
        try:
            parts = run_evaluation(lively_model(), tmp_path, protocols=["paper", "eot:2"], granularity=granularity,
                                   stop=AfterSteps(2))
            break
        except Stopped:
            stops += 1
            for file in (tmp_path / "progress").glob("*.jsonl"):
                with file.open("a") as journal:
                    journal.write('{"attack": "pgd2", "proto')  # killed while writing
    assert stops >= 4  # 9 batches, two at a time at most
    assert same(whole, parts)


def test_the_majority_of_equals_is_the_lower_class() -> None:
    predictions = torch.tensor([[2, 1, 0, 3], [1, 1, 3, 0], [2, 0, 3, 3], [1, 2, 0, 0]])
    assert most_frequent(predictions, 4).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("text", ["", "0", "1011", "000"])
def test_bits(text: str) -> None:
    assert bits(from_bits(text)) == text


def test_images_outside_the_unit_interval_stop_the_run() -> None:
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(NumericalError, match=r"\[0, 1\]"):
            check_images(torch.full((1, 3, 2, 2), bad))


def test_logits_that_are_none_stop_the_run() -> None:
    data = torch.rand(2, 3, 8, 8)
    for function, error in [
        (lambda x: torch.full((len(x), 10), float("nan")), NumericalError),
        (lambda x: x, ModelError),
        (lambda x: torch.zeros(len(x), 7), ModelError),
        (lambda x: "logits", ModelError),
    ]:
        with pytest.raises(error, match="expected"):
            ForeignModel(Lambda(function), data, 10)


def linear(noise: float) -> Lambda:
    weight = torch.randn(3 * 8 * 8, 10, generator=torch.Generator().manual_seed(0)) / 50
    return Lambda(lambda x: x.flatten(1) @ weight + noise * torch.randn(len(x), 10))


def test_a_foreign_model_that_draws_from_torch_is_frozen_by_seeds() -> None:
    images = torch.rand(4, 3, 8, 8)
    model = ForeignModel(linear(1.0), images, 10)
    assert model.space.is_random
    assert model.replayable
    first, second = (run_evaluation(model, protocols=["paper", "eot:2"]) for _ in range(2))
    assert same(first, second)
    with pytest.raises(InvalidValue, match="granularity"):
        run_evaluation(model, granularity="sample")


def test_a_deterministic_foreign_model_is_seen_as_such() -> None:
    model = ForeignModel(linear(0.0), torch.rand(4, 3, 8, 8), 10)
    assert not model.space.is_random
    assert len(run_evaluation(model)) == 2


@pytest.mark.parametrize(
    "reference", ["nothing", "no_such_module_at_all:f", "math:nothing", "math:pi", "json:JSONDecoder"])
def test_what_does_not_import_is_refused(reference: str) -> None:
    with pytest.raises((ModelError, InvalidValue), match="--model"):
        import_model(reference)


@pytest.mark.parametrize("name", ["eot:0", "eot:", "eot:-1", "papers", "", "eot:99999"])
def test_unknown_protocols(name: str) -> None:
    with pytest.raises(InvalidValue, match="protocol"):
        parse_protocol(name)


def test_eot_defaults_to_20_samples() -> None:
    assert parse_protocol("eot") == parse_protocol("eot:20")
