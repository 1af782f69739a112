"""Wherever a network's random numbers come from: what is found is what it draws from, and a draw comes again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnabench.defence.foreign import ForeignModel, as_classifier
from rnabench.defence.randomness import UNFIXED, sources_of
from rnabench.errors import InvalidValue, ModelError
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams, stream
from tests.defence.networks import SEEDED, UNSEEDED, Called, PerImage
from tests.helpers import Lambda, lively_model, run_evaluation

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def adopted(network: nn.Module) -> ForeignModel:
    classifier, _ = as_classifier(network.eval(), IMAGES, 10)
    assert isinstance(classifier, ForeignModel)
    return classifier


@pytest.mark.parametrize("name", SEEDED)
def test_what_it_draws_from_is_found_and_a_draw_comes_again(name: str) -> None:
    made, sources = SEEDED[name]
    model = adopted(made())
    assert set(model.sources) == sources
    assert model.space.is_random
    assert model.replayable
    first, second = model.space.sample(stream(0, "a")), model.space.sample(stream(0, "b"))
    logits = [model.on(path)(IMAGES) for path in (first, second, first)]
    assert torch.equal(logits[0], logits[2])
    assert any(not torch.equal(logits[0], model.on(Path.of(seed))(IMAGES)) for seed in range(10))


@pytest.mark.parametrize("name", UNSEEDED)
def test_what_no_seed_fixes_is_told(name: str) -> None:
    model = adopted(UNSEEDED[name]())
    assert model.sources == (UNFIXED,)
    assert model.space.is_random
    assert not model.replayable


@pytest.mark.parametrize("same", range(1, 8))
def test_what_comes_out_the_same_a_few_times_is_not_taken_for_fixed(same: int) -> None:
    """A coin that no seed fixes, and that falls on one side for some forwards."""
    forwards = itertools.count()
    assert sources_of(lambda seeds: (torch.tensor(next(forwards) >= same), [])) == (UNFIXED,)


def test_a_deterministic_network_draws_from_nothing_even_where_it_asks_for_a_number() -> None:
    for function in (lambda x: x.flatten(1)[:, :10], lambda x: x.flatten(1)[:, :10] + 0 * torch.rand(())):
        model = adopted(Lambda(function))
        assert model.sources == ()
        assert not model.space.is_random
        assert model.replayable


def global_numbers() -> list[float]:
    return [float(torch.rand(())), float(np.random.rand()), random.random()]


@pytest.mark.parametrize("name", SEEDED)
def test_global_generators_are_left_as_they_were(name: str) -> None:
    def numbers(between: Callable[[], object]) -> list[float]:
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        between()
        return global_numbers()

    network = SEEDED[name][0]()
    model, undisturbed = adopted(network), numbers(lambda: None)
    assert numbers(lambda: model.on(Path.of(5))(IMAGES)) == undisturbed
    assert numbers(lambda: as_classifier(network, IMAGES, 10)) == undisturbed


def test_they_are_put_back_after_an_error_too() -> None:
    model = adopted(SEEDED["torch"][0]())
    torch.manual_seed(3)
    with pytest.raises(ModelError, match="RuntimeError"):
        model.on(Path.of(5))(IMAGES[:, :, :1, :1])
    after = torch.rand(())
    torch.manual_seed(3)
    assert torch.equal(torch.rand(()), after)


def test_choice_layers_alone_make_a_randomised_classifier() -> None:
    """Also where the network is not wrapped yet, or something deterministic lies around it."""
    rna = lively_model()
    for network in (rna, rna.network, nn.Sequential(Lambda(lambda x: x * 0.9), lively_model())):
        classifier, seen = as_classifier(network, IMAGES, 10)
        assert isinstance(classifier, RandomizedClassifier)
        assert seen.sources == ("choice layers",)
        assert classifier.space.count == 64
        path = classifier.space.sample_each(ExampleStreams(0, "x", indices=range(6)))
        alone = [classifier.on(path.take(torch.tensor([row])))(IMAGES)[row] for row in range(6)]
        assert torch.allclose(classifier.on(path)(IMAGES), torch.stack(alone), atol=1e-5)


def test_an_average_over_draws_keeps_its_draws() -> None:
    """One path for all five of its forwards would make another network of it."""
    rna = lively_model()
    voting = Lambda(lambda x: torch.stack([rna(x) for _ in range(5)]).mean(0))
    voting.rna = rna
    model = adopted(voting)
    assert model.sources == ("choice layers",)
    rna.generator.manual_seed(0)
    by_itself = {str(model.on(Path.of(seed))(IMAGES)[0, 0].item()) for seed in range(8)}
    single = {str(rna.on(path)(IMAGES)[0, 0].item()) for path in rna.space.enumerate()}
    assert not by_itself & single


def test_a_network_that_takes_a_generator_for_each_image_has_draws_of_its_images() -> None:
    model = adopted(PerImage())
    assert model.space.takes_rows
    path = model.space.sample_each(ExampleStreams(0, "x", indices=range(6)))
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    assert torch.equal(model.on(path)(IMAGES)[order], model.on(path.take(order))(IMAGES[order]))
    one = path.take(torch.tensor([2]))
    assert torch.equal(model.on(one)(IMAGES), model.on(Path(one.choices.repeat(6, 1)))(IMAGES))
    with pytest.raises(InvalidValue, match="1 row or 3"):
        model.on(path)(IMAGES[:3])
    outcomes = [run_evaluation(model, granularity="sample", batch_size=size, protocols=["paper", "eot:2"], eps=0.5)
                for size in (4, 12)]
    assert [each.as_json() | {"seconds": 0} for each in outcomes[0]] == [
        each.as_json() | {"seconds": 0} for each in outcomes[1]]


def test_draws_of_a_whole_batch_cannot_be_asked_for_image_by_image() -> None:
    with pytest.raises(InvalidValue, match="--granularity: 'sample' is not valid; expected 'batch'"):
        adopted(Called()).space.sample_each(ExampleStreams(0, "x", indices=range(2)))


def test_gradients_follow_the_draw() -> None:
    """The gradient at a path is that of the function which `on(path)` is."""
    def scaled(x: Tensor) -> Tensor:
        return (x * (1 + torch.rand(()))).flatten(1)[:, :10] ** 2

    model, images = adopted(Lambda(scaled)), IMAGES.clone().requires_grad_()
    view = model.on(Path.of(7))
    (gradient,) = torch.autograd.grad(view(images).sum(), images)
    step = torch.zeros_like(IMAGES)
    step[:, 0, 0, :8] = 1e-2
    change = (view(IMAGES + step) - view(IMAGES - step)).sum(1) / 2e-2
    assert torch.allclose(change, (gradient * (step > 0)).flatten(1).sum(1), rtol=1e-3)
