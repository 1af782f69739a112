"""`rnabench conform`: planted faults are found, each by its check, and honest networks have none."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rnabench.cli.conform import COLOURS
from rnabench.defence.foreign import as_classifier
from rnabench.evaluation.conformance import CHECKS, Candidate, Finding, conformance
from rnabench.evaluation.watching import watched
from tests.cli.test_cli import run
from tests.evaluation.test_diagnosis import MEAN, STATISTICS, STD, centres, images, normalise
from tests.helpers import Lambda, lively_model

BATCH = images()
LEARNED, NORMALISED = centres(BATCH, lambda x: x), centres(BATCH, normalise, scale=0.1)


def looked_at(network: nn.Module) -> dict[str, Finding]:
    classifier, seen = as_classifier(network.eval(), BATCH.images[:8], 10)
    found = conformance(Candidate(network, classifier, seen, BATCH, 10, STATISTICS))
    assert [each.check for each in found] == list(CHECKS)
    return {each.check: each for each in found}


def faults(network: nn.Module) -> dict[str, str]:
    return {name: each.status for name, each in looked_at(network).items() if each.status in ("WARN", "FAIL")}


class NaNGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * torch.nan


class Misleading(torch.autograd.Function):
    """The identity, with a gradient that is a thousand times too small."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient / 1000


def nudged(x: Tensor) -> Tensor:
    """Moves each image towards what the network is surer of, before it is asked."""
    with torch.enable_grad():
        moved = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(LEARNED(moved).amax(1).sum(), moved)
    return LEARNED(x + 1e-4 * slope.sign())


class Trains(nn.Module):
    """Takes a step of an optimiser in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            shift = self.shift.detach().clone().requires_grad_()
            LEARNED(x.detach() + shift).amax(1).sum().backward()
            torch.optim.SGD([shift], lr=1e-9).step()
        return LEARNED(x + shift.detach())


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return LEARNED(x)


class NowAndThen(nn.Module):
    """Keeps count where no state_dict shows it, and is another network at each ninth call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return LEARNED(x) if self.calls % 9 else -LEARNED(x)


class StartsTraining(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.train()
        return LEARNED(x)


def in_pairs(x: Tensor) -> Tensor:
    return LEARNED(x.view(len(x) // 2, 2, *x.shape[1:]).flatten(0, 1))


PLANTED: dict[str, tuple[nn.Module, dict[str, str]]] = {
    "expects normalised input": (NORMALISED, {"input": "FAIL"}),
    "probabilities": (Lambda(lambda x: (LEARNED(x) / 8).softmax(1)), {"output": "FAIL"}),
    "not seedable": (Lambda(lambda x: LEARNED(x) + os.urandom(1)[0] / 255 * torch.arange(10)), {"replay": "FAIL"}),
    "no gradient": (Lambda(lambda x: LEARNED((255 * x).round().to(torch.uint8).float() / 255)), {"gradient": "FAIL"}),
    "NaN gradient": (Lambda(lambda x: LEARNED(NaNGradient.apply(x))), {"gradient": "FAIL"}),  # type: ignore[no-untyped-call]
    "masked gradient": (Lambda(lambda x: LEARNED(Misleading.apply(x))), {"slope": "WARN"}),  # type: ignore[no-untyped-call]
    "batch dependent": (Lambda(lambda x: LEARNED(x) * (1 + x.mean())), {"batch": "WARN"}),
    "gradient call inside": (Lambda(nudged), {"forward": "WARN"}),
    "trains inside": (Trains(), {"forward": "WARN"}),
    "counts its calls": (Counting(), {"state": "FAIL"}),
    "another one now and then": (NowAndThen(), {"replay": "FAIL"}),
    "starts training": (StartsTraining(), {"state": "WARN"}),
    "batches of two, four, ...": (Lambda(in_pairs), {"batch": "FAIL"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(name: str) -> None:
    network, expected = PLANTED[name]
    assert faults(network) == expected


def noise_in_logits(x: Tensor) -> Tensor:
    return LEARNED(x) + 0.1 * torch.randn(len(x), 10)


def strictly(x: Tensor) -> Tensor:
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError("pixels leave [0, 1]")
    return LEARNED(x)


def normalising(x: Tensor) -> Tensor:
    return NORMALISED((x - MEAN) / STD)


@pytest.mark.parametrize("network", [
    LEARNED, Lambda(noise_in_logits), Lambda(normalising), Lambda(lambda x: LEARNED(x + 0.01 * torch.randn_like(x))),
    Lambda(lambda x: LEARNED(x.clamp(0, 1))), Lambda(lambda x: LEARNED(x.mul_(1.0))), Lambda(strictly),
])
def test_an_honest_network_has_no_fault(network: nn.Module) -> None:
    assert faults(network) == {}


def test_the_lines_have_the_numbers() -> None:
    found = looked_at(Lambda(lambda x: LEARNED(x) + 3 * torch.randn(len(x), 10)))
    assert "torch's CPU generator" in found["randomness"].text
    assert "--granularity sample is refused" in found["draws"].text
    found = looked_at(lively_model())
    assert "choice layers" in found["randomness"].text
    assert found["draws"].status == "PASS"
    assert "one for each image" in found["draws"].text


@pytest.mark.parametrize("times", [1, 3])
def test_passes_of_an_average_are_counted(times: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    voting = Lambda(lambda x: torch.stack([network(x) for _ in range(times)]).mean(0))
    voting.network = network
    with watched(voting) as inside:
        voting(BATCH.images)
    assert inside.passes == times * len(BATCH.images)
    assert (inside.gradients, inside.steps) == (0, 0)


@pytest.mark.parametrize("ask", [
    lambda x: torch.autograd.grad(x.square().sum(), x), lambda x: x.square().sum().backward(),
    lambda x: torch.autograd.backward(x.square().sum()), torch.func.grad(lambda x: x.square().sum()),
])
def test_every_way_to_ask_for_a_gradient_is_seen_inside_and_left_alone_outside(ask: Callable[[Tensor], object]) -> None:
    x = torch.ones(3, requires_grad=True)
    with watched(nn.Identity()) as inside:
        ask(x)
    assert inside.gradients == 1
    ask(x)
    assert inside.gradients == 1


def test_the_command_says_it_in_a_screen_and_in_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--n-examples", "16", "--device", "cpu"]
    assert run("conform", "tests.cli.models:without_gradient", *options) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[line.split()[0], name] for line, name in zip(
        lines, CHECKS, strict=True)]
    assert {line.split()[0] for line in lines} <= set(COLOURS)
    assert next(line for line in lines if line.split()[1] == "gradient").startswith("FAIL")
    assert run("conform", "tests.cli.models:linear", *options) == 0
    capsys.readouterr()
    assert run("conform", "tests.cli.models:seven_classes", *options) == 2
    assert run("conform", "tests.defence.networks:linear", *options) == 2
    said = capsys.readouterr().err.splitlines()
    assert ["7 classes" in said[0], "--model-args width=VALUE" in said[1], len(said)] == [True, True, 2]
