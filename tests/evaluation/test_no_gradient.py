"""A foreign model that lets no gradient through is evaluated, and fails in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rnabench.data.batches import ResidentSource
from rnabench.data.images import ImageSet
from rnabench.defence.foreign import ForeignModel
from rnabench.evaluation.cells import Cell, Surrogate, cells, probes
from rnabench.evaluation.engine import Evaluation, evaluate, parameters_of
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.defences.jpeg import Jpeg
from rnabench.path.choice import ChoiceLayer
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.scoring.flag import Flag, Row
from rnabench.scoring.sanity import judge
from rnabench.settings.evaluation import EvaluationSettings
from tests.helpers import Lambda, random_images, run_evaluation
from tests.scoring.test_sanity import linear_network

DATA = random_images(32)
IMAGES = torch.from_numpy(DATA.images).permute(0, 3, 1, 2).float() / 255
NETWORK = linear_network(IMAGES, torch.from_numpy(DATA.labels))


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()


def in_numpy(x: Tensor) -> Tensor:
    return NETWORK(torch.from_numpy(x.numpy().copy()))


def in_inference_mode(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return NETWORK(x)


def votes(x: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(NETWORK(x).argmax(1), 10)


WITHOUT: dict[str, Callable[[Tensor], Tensor]] = {
    "detached": lambda x: NETWORK(x.detach()), "rounded": lambda x: NETWORK((16 * x).round() / 16),
    "integer": lambda x: NETWORK((255 * x).round().to(torch.uint8).float() / 255), "votes": votes,
    "numpy": in_numpy, "inference mode": in_inference_mode,
    "no backward": lambda x: NETWORK(NoBackward.apply(x)),  # type: ignore[no-untyped-call]
}


def foreign(function: Callable[[Tensor], Tensor]) -> ForeignModel:
    return ForeignModel(Lambda(function), IMAGES[:8], 10).eval()


@pytest.mark.parametrize("kind", WITHOUT)
def test_it_is_accepted_with_the_logits_that_it_has_and_a_gradient_of_zero(kind: str) -> None:
    model = foreign(WITHOUT[kind])
    assert not model.differentiable
    images = IMAGES.clone().requires_grad_()
    path = model.space.sample(torch.Generator())
    logits = model.on(path)(images)
    assert torch.equal(logits.detach(), WITHOUT[kind](IMAGES).to(logits.dtype))
    (gradient,) = torch.autograd.grad(logits.float().square().sum(), images)
    assert not gradient.any()


def test_ordinary_models_are_differentiable() -> None:
    assert foreign(NETWORK).differentiable
    saturated = foreign(lambda x: 1e4 * NETWORK(x))  # no gradient of cross-entropy, but one of the logits
    assert saturated.differentiable


def test_a_weight_that_asks_for_gradients_does_not_hide_that_images_have_none() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    assert not foreign(lambda x: linear(x.detach())).differentiable


def test_every_attack_ends_within_its_ball_and_gradient_attacks_change_no_prediction_that_starts_do_not() -> None:
    model = foreign(WITHOUT["detached"])
    attacks = ["fgsm", "bim10", "pgd3", "pgd3-margin", "mifgsm", "apgd5-ce", "apgd5-dlr", "apgd5-t", "cw20", "deepfool",
               "square20"]
    few = ImageSet(DATA.classes, DATA.images[:4], DATA.labels[:4], DATA.indices[:4])
    found = {outcome.attack: outcome for outcome in run_evaluation(model, attacks=attacks, images=few)}
    assert len(found) == 1 + len(attacks)
    for still in ("fgsm", "bim10", "mifgsm", "deepfool", "cw20"):  # they start at the image and stay there
        assert (found[still].correct == found["natural"].correct).all()


def judged(model: ForeignModel | RandomizedClassifier, surrogate: Surrogate | None, **more: object
           ) -> tuple[list[Flag], Evaluation]:
    keys = EvaluationSettings.model_validate({"attacks": ["pgd5"], "eps": "48/255", "sanity_examples": 16, "draws": 2,
                                          "protocols": ["eot:2"], "attack_paths": 8, **more})
    found = evaluate(model, model, ResidentSource(DATA, torch.device("cpu")), 10, keys, Journal(None, "x"),
                     Silent(), StopRequest(), surrogate=surrogate)
    assert found is not None
    random = model.space.is_random
    ran: list[Cell] = cells(keys, random) + probes(keys, random, surrogate.name if surrogate else None)
    rows = [Row(outcome, parameters_of(cell, keys))
            for cell, outcome in zip(ran, found.outcomes + found.probes, strict=True)]
    return judge(rows, vars(found.diagnosis), 10, keys.eps, random), found


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_square_and_transfer_break_what_gradients_do_not(noise: float) -> None:
    """Images made on the same network with its gradient: they transfer, and the FAIL says what they left."""
    def network(x: Tensor) -> Tensor:
        return NETWORK(x.detach()) + noise * torch.randn(len(x), 10)

    flags, found = judged(foreign(network), Surrogate("twin (weights 00)", foreign(NETWORK)))
    outcomes = {outcome.attack: outcome.accuracy for outcome in found.outcomes + found.probes}
    assert outcomes["pgd5"] == outcomes["natural"] == 1
    assert outcomes["transfer-pgd20"] < 0.5
    assert flags[3].status == "FAIL"
    assert f"transfer-pgd20 / any from twin (weights 00) left {100 * outcomes['transfer-pgd20']:.1f} %" in flags[3].text
    assert f"left {100 * outcomes['square200']:.1f} %" in flags[3].text
    assert ("pgd5", "eot:2" if noise else "any") in flags[3].rows
    assert flags[4].status == "FAIL", "a transfer attack that beats the white-box ones is check 5's"


def test_a_network_of_ours_that_draws_its_masks_is_flagged_too() -> None:
    """JPEG of a random quality: PGD moves nothing that its start does not, Square does."""
    masks = ChoiceLayer({"fine": Jpeg(95), "coarse": Jpeg(80)})
    model = RandomizedClassifier(nn.Sequential(masks, Lambda(NETWORK))).eval()
    flags, found = judged(model, None, sanity_examples=4)
    assert found.diagnosis.zero_gradients["ce"] == 1
    assert flags[3].status == "FAIL"
    assert ("pgd5", "eot:2") in flags[3].rows


def test_transfer_is_what_pgd_does_to_the_surrogate() -> None:
    """With the surrogate as the target itself, the transfer attack is its PGD-20."""
    model = foreign(NETWORK)
    flags, found = judged(model, Surrogate("itself", model))
    outcomes = {outcome.attack: outcome for outcome in found.probes}
    assert (outcomes["transfer-pgd20"].correct == outcomes["pgd20"].correct).all()
    assert flags[3].status == flags[4].status == "PASS"


def test_without_a_surrogate_the_text_says_so() -> None:
    flags, _ = judged(foreign(WITHOUT["rounded"]), None)
    assert flags[3].status == "FAIL"
    assert flags[3].text.endswith("no transfer attack was run")
