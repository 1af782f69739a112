"""The sanity checks fire on what they are made for, and only on that."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnabench.defence.foreign import ForeignModel
from rnabench.report.record import Result
from rnabench.report.scores import judged
from rnabench.scoring.flag import Flag, Row
from rnabench.scoring.outcome import Outcome
from rnabench.scoring.sanity import judge
from tests.helpers import Lambda, full_evaluation, lively_model, random_images
from tests.report.records import handmade

CLEAN = {"images": 64, "zero_gradients": 0.0, "probabilities": False, "was_training": False, "changed": []}
PGD = {"kind": "pgd", "loss": "ce", "restarts": 1, "eps": 0.1, "steps": 20}


def row(right: int, images: int = 200, protocol: str = "any", name: str = "x", **parameters: object) -> Row:
    """An outcome that is right on the first so many images."""
    correct = (np.arange(images) < right)[:, None]
    return Row(Outcome(name, protocol, correct, correct[:, 0], correct[:, 0], None), parameters)


def flag(check: int, rows: list[Row], random: bool = False, diagnosis: dict[str, object] | None = None,
         baseline: tuple[Row, ...] = ()) -> Flag:
    return judge(rows, diagnosis or CLEAN, 10, 0.1, random, baseline)[check - 1]


def natural(right: int = 190) -> Row:
    return row(right, name="natural")


@pytest.mark.parametrize(("fgsm", "pgd", "autoattack", "status"), [
    (150, 140, 130, "PASS"), (140, 140, 140, "PASS"), (100, 150, 90, "FAIL"), (150, 120, 160, "FAIL"),
    (150, 145, 146, "PASS"),  # half a point, on 200 images, says nothing
])
def test_order(fgsm: int, pgd: int, autoattack: int, status: str) -> None:
    rows = [natural(), row(fgsm, name="fgsm", kind="fgsm", eps=0.1), row(pgd, name="pgd20", **PGD),
            row(autoattack, name="autoattack", kind="autoattack", eps=0.1)]
    found = flag(1, rows)
    assert found.status == status
    if status == "FAIL":
        assert found.rows
        assert "points above" in found.text


def test_the_papers_own_numbers_trip_the_order_check() -> None:
    """65.6 under AutoAttack against 60.7 under PGD-20, on 10,000 images, both on a frozen path."""
    rows = [row(8400, 10_000, name="natural"), row(6070, 10_000, "paper", "pgd20", **PGD),
            row(6560, 10_000, "paper", "autoattack", kind="autoattack", eps=0.1)]
    found = flag(1, rows, random=True)
    assert found.status == "FAIL"
    assert found.rows == (("autoattack", "paper"),)
    assert flag(7, rows, random=True).status == "WARN"


def test_averaging_must_not_be_weaker_than_a_frozen_path() -> None:
    weaker = [natural(), row(100, protocol="paper", name="pgd20", **PGD),
              row(150, protocol="eot:20", name="pgd20", **PGD)]
    assert flag(1, weaker, random=True).rows == (("pgd20", "eot:20"),)


@pytest.mark.parametrize(("middle", "large", "all_of_it", "status"), [
    (50, 10, 0, "PASS"), (50, 80, 0, "WARN"), (130, 100, 90, "FAIL"), (190, 10, 0, "FAIL"),
])
def test_eps_ladder(middle: int, large: int, all_of_it: int, status: str) -> None:
    """190 natural, 100 at eps; the middle is the double eps, then 64/255, then everything."""
    sizes = {0.1: 100, 0.2: middle, 64 / 255: large, 1.0: all_of_it}
    rows = [natural(), *(row(right, name=f"pgd20@{eps}", **{**PGD, "eps": eps}) for eps, right in sizes.items())]
    assert flag(2, rows).status == ("FAIL" if status == "WARN" and large > middle + 60 else
                                    {"PASS": "PASS", "WARN": "WARN" if large <= middle else "FAIL",
                                     "FAIL": "FAIL"}[status])


def test_above_chance_at_64_255_only_warns_if_accuracy_falls_to_chance_later() -> None:
    sizes = {0.1: 150, 0.2: 120, 64 / 255: 100, 1.0: 5}
    rows = [natural(), *(row(right, name=f"pgd20@{eps}", **{**PGD, "eps": eps}) for eps, right in sizes.items())]
    assert flag(2, rows).status == "WARN"


@pytest.mark.parametrize(("more", "status"), [(99, "PASS"), (92, "WARN"), (60, "FAIL")])
def test_convergence(more: int, status: str) -> None:
    for rows in (
        [row(100, name="pgd20", **PGD), row(more, name="pgd100", **{**PGD, "steps": 100})],
        [row(100, name="pgd20", **PGD), row(more, name="pgd20x5", **{**PGD, "restarts": 5})],
        [row(100, protocol="eot:10", name="pgd20", **PGD), row(more, protocol="eot:20", name="pgd20", **PGD)],
    ):
        assert flag(3, rows).status == status


@pytest.mark.parametrize(("seen", "status"), [
    ({}, "PASS"), ({"zero_gradients": 0.02}, "WARN"), ({"zero_gradients": 0.5}, "FAIL"),
    ({"probabilities": True}, "FAIL"), ({"was_training": True}, "WARN"), ({"changed": ["bn.running_mean"]}, "FAIL"),
])
def test_what_is_seen_of_the_model(seen: dict[str, object], status: str) -> None:
    assert flag(4, [natural(), row(100, name="pgd20", **PGD)], diagnosis={**CLEAN, **seen}).status == status


def test_a_stronger_black_box_attack() -> None:
    white = row(150, name="pgd20", **PGD)
    assert flag(5, [white, row(100, name="square", kind="square", eps=0.1)]).status == "FAIL"
    assert flag(5, [white, row(170, name="square", kind="square", eps=0.1)]).status == "PASS"


def test_draws_are_compared_only_where_the_same_is_averaged() -> None:
    """Of losses, probabilities and logits nobody knows which is the stronger attack."""
    def rows(first: str, second: str, right: tuple[int, int] = (100, 150)) -> list[Row]:
        return [natural(), *(row(count, protocol=protocol, name="pgd20", **PGD)
                             for count, protocol in zip(right, (first, second), strict=True))]

    for first, second in (("paper", "eot:20:logits"), ("eot:10", "eot:20:logits"), ("eot:10:probabilities", "eot:20")):
        assert flag(1, rows(first, second), random=True).status == "PASS"
    assert flag(1, rows("eot:10", "eot:20"), random=True).status == "FAIL"
    assert flag(3, rows("eot:10", "eot:20:logits", (150, 100)), random=True).status == "n/a"
    assert flag(3, rows("eot:10:logits", "eot:20:logits", (150, 100)), random=True).status == "FAIL"


def test_transferred_images_are_compared_with_the_strongest_white_box_attack_under_any_protocol() -> None:
    white = [row(right, protocol=protocol, name="pgd20", **PGD)
             for protocol, right in (("paper", 180), ("eot:10", 120), ("same-path", 20))]
    for right, status in ((60, "FAIL"), (125, "PASS")):
        found = flag(5, [*white, row(right, name="transfer-pgd20", **{**PGD, "kind": "transfer"})], random=True)
        assert found.status == status
        assert "against pgd20 / eot:10 60.0" in found.text


def test_one_path_against_the_baseline() -> None:
    baseline = (row(80, name="pgd20", **PGD),)
    for right, status in ((82, "PASS"), (150, "FAIL")):
        mine = row(right, protocol="same-path", name="pgd20", **PGD)
        assert flag(6, [mine], random=True, baseline=baseline).status == status
    assert flag(6, [mine], random=True).status == "n/a"


def test_the_worst_attack_against_the_baseline_counts_whatever_their_order() -> None:
    """One attack finds a frozen path as robust as the baseline, the other one much more robust."""
    other = {**PGD, "steps": 100}
    mine = [row(82, protocol="same-path", name="pgd20", **PGD), row(150, protocol="same-path", name="pgd100", **other)]
    baseline = [row(80, name="pgd20", **PGD), row(78, name="pgd100", **other)]
    for rows in (mine, mine[::-1]):
        for theirs in (baseline, baseline[::-1]):
            found = flag(6, rows, random=True, baseline=tuple(theirs))
            assert found.status == "FAIL"
            assert "pgd100 / same-path 75.0 against the baseline's pgd100 / any 39.0" in found.text


class Wavy(nn.Module):
    """A network behind a layer that is nearly the identity, but whose slope is right only on the grid of 8-bit pixels
    and changes sign between: the gradient at the clean image is fine, and after the first odd step it misleads."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.sin(2 * math.pi * 255 * x) * 20 / (2 * math.pi * 255)
        logits: Tensor = self.network(x + waves)
        return logits


def linear_network(images: Tensor, labels: Tensor) -> Lambda:
    """Logits from class means: right on the given images, with gradients that mean something."""
    means = torch.stack([images[labels == k].flatten(1).mean(0) if bool((labels == k).any()) else
                         torch.zeros(images[0].numel()) for k in range(10)])
    offset = means.square().sum(1) / 2
    return Lambda(lambda x: 5 * (x.flatten(1) @ means.T - offset))


@pytest.mark.parametrize("masked", [False, True])
def test_a_model_that_masks_its_gradient_fails_the_order_check_and_a_plain_one_passes(masked: bool) -> None:
    data = random_images(120, size=8)
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    network: nn.Module = linear_network(images, torch.from_numpy(data.labels))
    model = ForeignModel(Wavy(network) if masked else network, images[:8], 10)
    found = full_evaluation(model, images=data, attacks=["fgsm", "pgd20"], eps="5/255", step_size="0.7/255",
                            batch_size=120, sanity_examples=120)
    rows = [Row(outcome, parameters) for outcome, parameters in zip(found.outcomes, (
        {}, {"kind": "fgsm", "eps": 5 / 255}, {**PGD, "eps": 5 / 255}), strict=True)]
    order = judge(rows, CLEAN, 10, 5 / 255, False)[0]
    assert order.status == ("FAIL" if masked else "PASS"), order.text


def test_a_plain_bn_network_passes() -> None:
    """With everything that is run by default: every check that applies, on a network with ordinary gradients."""
    found = full_evaluation(lively_model("bn"), images=random_images(64, size=16), attacks=["fgsm", "pgd20"],
                            eps="2/255", batch_size=64)
    diagnosis = found.diagnosis
    assert not diagnosis.changed
    assert not diagnosis.probabilities
    assert set(diagnosis.zero_gradients.values()) == {0.0}
    assert {probe.attack for probe in found.probes} >= {"pgd60", "square200", "pgd10@64/255"}


def test_a_failed_check_travels_into_the_record_and_names_its_rows() -> None:
    correct = (np.arange(200) < 100)[:, None]
    better = (np.arange(200) < 150)[:, None]

    def made(name: str, bits: np.ndarray) -> Outcome:
        return Outcome(name, "any", bits, bits[:, 0], bits[:, 0], None)

    record = judged(handmade("m", [
        Result.of(made("natural", better), "-", {}),
        Result.of(made("fgsm", correct), "-", {"kind": "fgsm", "eps": 0.1, "backend": "native"}),
        Result.of(made("pgd20", better), "-", {**PGD, "backend": "native"}),
    ], randomised=False, images=200, eps=0.1, diagnosis=CLEAN))
    assert record.unreliable
    assert [each.unreliable for each in record.results] == [False, False, True]
