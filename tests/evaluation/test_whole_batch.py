"""Networks whose predictions depend on batch mates: every number is that of whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnabench.attack.attack import Attack, ready
from rnabench.attack.autoattack import AutoAttack
from rnabench.attack.estimators import Expectation, OnePath
from rnabench.data.batches import Batch, ResidentSource
from rnabench.defence.foreign import ForeignModel
from rnabench.errors import InvalidValue
from rnabench.evaluation import attacker
from rnabench.evaluation.cells import Cell
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.mixture import use_branch
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.attacks import parse_attack
from rnabench.settings.protocols import parse_protocol
from tests.helpers import Lambda, full_evaluation, lively_model, random_images, run_evaluation

RANDOM = "bn-batch+robust"
SIZE = 4


@pytest.mark.parametrize(("space", "depends"), [
    ("bn", False), ("in+gn2", False), ("robust-running", False), ("mbn", False), ("bn-batch", True), ("robust", True),
    ("robust-running-mean", True), ("bn+bn-batch", True)])
@pytest.mark.parametrize("training", [False, True])
def test_who_depends_is_a_matter_of_inference(space: str, depends: bool, training: bool) -> None:
    model = lively_model(space).train(training)
    assert model.batch_dependent == depends
    assert all(module.training == training for module in model.modules())
    if space == "mbn":
        with use_branch(model, "adv"):
            assert not model.batch_dependent


def in_batches(size: int = SIZE) -> list[Batch]:
    return list(ResidentSource(random_images(), torch.device("cpu")).in_order(size))


def right_by_hand(model: RandomizedClassifier, name: str, samples: int, draws: int, number: int, batch: Batch
                  ) -> Tensor:
    """Who of a whole batch is right after an attack on it, with paths by the batch's number: bool [N, draws]."""
    attack, threat = ready(parse_attack(name), "Linf", 8 / 255, 2 / 255)
    assert isinstance(attack, Attack)
    starts = ExampleStreams(0, "attack start", indices=batch.indices)
    paths, scores = (ExampleStreams(0, f"{what} path", indices=[number]) for what in ("attack", "scoring"))
    estimator = Expectation(model, lambda repeats: model.space.sample_each(paths), samples) if samples else (
        OnePath(model, model.space.sample_each(paths)))
    images = attack.run(estimator, batch.images, batch.labels, lambda *shape: starts.uniform(*shape).to(batch.images),
                        threat)
    with torch.no_grad():
        return torch.stack([model.on(model.space.sample_each(scores))(images).argmax(1) == batch.labels
                            for _ in range(draws)], 1)


@pytest.mark.parametrize(("space", "protocol", "samples"), [
    ("robust", "any", 0), ("bn-batch", "any", 0), (RANDOM, "paper", 0), (RANDOM, "eot:3", 3)])
def test_an_evaluation_attacks_and_scores_whole_batches(space: str, protocol: str, samples: int) -> None:
    model = lively_model(space)
    keys: dict[str, Any] = {"protocols": ["paper" if protocol == "any" else protocol], "batch_size": SIZE}
    outcome = run_evaluation(model, **keys)[1]
    expected = [right_by_hand(model, "pgd2", samples, outcome.correct.shape[1], number, batch)
                for number, batch in enumerate(in_batches())]
    assert np.array_equal(outcome.correct, torch.cat(expected).numpy())
    for paths in (1, 7):  # a draw serves a batch whatever they are
        again = run_evaluation(model, attack_paths=paths, **keys)[1]
        assert np.array_equal(again.correct, outcome.correct)
        if protocol != "any":
            assert again.groups is not None
            assert again.groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_another_batch_size_is_another_evaluation() -> None:
    """So that the tests here can fail."""
    model = lively_model(RANDOM)
    keys: dict[str, Any] = {"attacks": ["fgsm"], "protocols": ["paper"], "draws": 20}
    first, second = (run_evaluation(model, batch_size=size, **keys)[0].correct for size in (3, 4))
    assert not np.array_equal(first, second)


def deterministic_predictions(model: nn.Module, images: Tensor, labels: Tensor) -> list[bool]:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).tolist()


@pytest.mark.parametrize("keys", [
    {"attacks": [{"name": "short", "kind": "apgd", "steps": 6}, "square20", "deepfool"]}, {"attacks": ["autoattack"]},
    {"attacks": ["fgsm", "deepfool"], "backend": "torchattacks"}])
def test_a_prediction_is_that_in_the_delivered_batch(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever attacked, and whatever batches he saw."""
    model, delivered = lively_model("robust"), list[tuple[Tensor, Tensor]]()
    original = attacker.Attacker.__call__

    def keep(self: attacker.Attacker, *arguments: Any) -> tuple[Tensor, Path]:
        images, path = original(self, *arguments)
        delivered.append((images.clone(), arguments[2].labels))
        return images, path

    def on_half(self: AutoAttack, view: nn.Module, images: Tensor, labels: Tensor, *more: Any) -> Tensor:
        """As libraries do: what is misclassified drops out, here after one step."""
        found = images.clone()
        rows = (view(images).argmax(1) == labels).nonzero().squeeze(1)
        half = images[rows].requires_grad_()
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(view(half), labels[rows]), half)
        found[rows] = (half.detach() + slope.sign() / 255).clamp(0, 1)
        return found

    monkeypatch.setattr(AutoAttack, "call", on_half)
    monkeypatch.setattr(attacker.Attacker, "__call__", keep)
    data = random_images(8)
    images = ResidentSource(data, torch.device("cpu"))
    data.labels[:] = torch.cat([model(batch.images).argmax(1) for batch in images.in_order(4)]).numpy()
    data.labels[0] = (data.labels[0] + 1) % 10
    outcomes = run_evaluation(model, images=data, batch_size=4, eps="1/255", **keys)[1:]
    right = [flag for each in delivered for flag in deterministic_predictions(model, *each)]
    assert [flag for outcome in outcomes for flag in outcome.correct[:, 0].tolist()] == right
    assert [flag for outcome in outcomes for flag in outcome.reported.tolist()] == right
    assert {len(images) for images, _ in delivered} == {4}


class Spy:
    """Whatever a defence is shown, by the number of images; out of memory for more than `most`."""

    def __init__(self, model: RandomizedClassifier, most: int = 100) -> None:
        self.model, self.space, self.most, self.sizes = model, model.space, most, list[int]()
        self.batch_dependent = model.batch_dependent

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        def logits_of(images: Tensor) -> Tensor:
            self.sizes.append(len(images))
            if len(images) > self.most:
                raise torch.OutOfMemoryError("planted")
            return self.model.on(path)(images)  # type: ignore[no-any-return]

        return logits_of


def test_nothing_but_whole_batches_is_shown_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by probes on few images, the diagnosis, nor averaging as on a GPU; 11 images are batches of 4, 4 and 3."""
    monkeypatch.setattr(attacker, "rows_pay", lambda device: True)
    monkeypatch.setattr("rnabench.evaluation.engine._Run.announce", lambda self, todo: None)  # times other batches
    probe = Cell(parse_attack("pgd3"), parse_protocol("eot:2"), 6, probe=True)
    monkeypatch.setattr("rnabench.evaluation.engine.probes", lambda *arguments: [probe])
    model = lively_model(RANDOM)
    spy = Spy(model)
    found = full_evaluation(model, images=random_images(11), defence=spy, sanity_examples=6,  # type: ignore[arg-type]
                            attacks=["pgd2", "square10"], protocols=["paper", "eot:3"], draws=2, batch_size=4)
    assert set(spy.sizes) == {4, 3}
    assert found.diagnosis.images == 8  # the batches of the first 6
    assert {len(probe.correct) for probe in found.probes} == {6}


def test_first_images_have_the_outcomes_that_they_have_among_all() -> None:
    model = lively_model(RANDOM)
    keys: dict[str, Any] = {"attacks": ["pgd2"], "protocols": ["eot:2"], "batch_size": 4, "draws": 5}
    everything = run_evaluation(model, **keys)[1]
    some = run_evaluation(model, n_examples_of={"pgd2": 6}, **keys)[1]
    assert np.array_equal(some.correct, everything.correct[:6])


def test_when_memory_runs_out_a_smaller_batch_size_is_asked_for() -> None:
    model = lively_model("robust")
    with pytest.raises(InvalidValue, match="--batch-size: 4 is not valid; expected a smaller one: memory ran out"):
        run_evaluation(model, defence=Spy(model, 3), batch_size=4)  # type: ignore[arg-type]
    assert len(run_evaluation(model, defence=Spy(model, 3), batch_size=3)) == 2  # type: ignore[arg-type]


def test_a_cumulative_attack_goes_on_with_the_whole_batch() -> None:
    model, data = lively_model("robust"), random_images()
    source = ResidentSource(data, torch.device("cpu"))
    data.labels[:] = torch.cat([model(batch.images).argmax(1) for batch in source.in_order(4)]).numpy()
    wrong = [0, 5, 6, 8, 9, 10, 11]  # nothing is left of the last batch
    data.labels[wrong] = (data.labels[wrong] + 1) % 10
    keys: dict[str, Any] = {"images": data, "attacks": ["fgsm", "pgd2"], "eps": "1/255", "batch_size": 4}
    natural, fgsm, pgd = (outcome.correct for outcome in run_evaluation(model, **keys))
    spy = Spy(model)
    found = run_evaluation(model, defence=spy, cumulative=True, **keys)  # type: ignore[arg-type]
    assert [np.array_equal(outcome.correct, expected) for outcome, expected in zip(
        found, (natural, natural & fgsm, natural & fgsm & pgd), strict=True)] == [True] * 3
    assert 0 < fgsm.sum() < 12


def test_a_defence_that_does_not_say_predicts_each_image_by_itself() -> None:
    """And has the outcomes of one that says so, to the last bit."""
    model = lively_model("bn+in")
    spy = Spy(model)
    del spy.batch_dependent
    short = {"name": "short", "kind": "apgd", "steps": 4}
    keys: dict[str, Any] = {"attacks": ["pgd2", short], "protocols": ["paper", "eot:3"]}
    silent, plain = (run_evaluation(model, defence=each, **keys) for each in (spy, model))  # type: ignore[arg-type]
    assert [a.as_json() | {"seconds": 0} for a in silent] == [b.as_json() | {"seconds": 0} for b in plain]


def whitened(x: Tensor) -> Tensor:
    return (x - x.mean(0)).flatten(1)[:, :10]


@pytest.mark.parametrize(("function", "depends"), [
    (lambda x: x.flatten(1)[:, :10], False), (lambda x: x.flatten(1)[:, :10] + torch.randn(len(x), 10), False),
    (lambda x: nn.functional.dropout(x.flatten(1), 0.5)[:, :10] + torch.randn(len(x), 10), False),
    (whitened, True), (lambda x: whitened(x) + torch.randn(len(x), 10), True),
    (lambda x: x.flatten(1)[:, :10] + 0.1 * x.mean(), True),
    (lambda x: x.flatten(1)[:, :10] / x.std(0).mean(), True)])  # without a batch mate it is not a number
def test_anybodys_network_is_looked_at_alone_and_among_mates(function: Callable[[Tensor], Tensor], depends: bool
                                                             ) -> None:
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert ForeignModel(Lambda(function), images, 10).batch_dependent == depends


def test_batch_statistics_of_torchs_own_layers_are_seen_too() -> None:
    images = torch.rand(8, 3, 8, 8)
    for track in (False, True):
        network = nn.Sequential(nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10, track_running_stats=track),
                                nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        assert ForeignModel(network, images, 10).batch_dependent != track
