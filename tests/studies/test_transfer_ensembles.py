"""The transfer matrix of several attacks, with ensembles as sources, on images that all networks classify correctly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rnabench.attack.estimators import OnePath
from rnabench.data.images import ImageSet
from rnabench.errors import InvalidValue
from rnabench.evaluation.ensemble import FusedLogits
from rnabench.report.study import caption
from rnabench.seeding import ExampleStreams, stream
from rnabench.settings.attacks import parse_attack
from rnabench.studies.measure.subject import at_rest
from rnabench.studies.measure.transfer import transfer, transfers
from rnabench.studies.transfer_matrix import TransferMatrix
from tests.helpers import lively_model, random_images
from tests.studies.test_rows_and_figures import model
from tests.studies.test_transfer import deployed, keys, work

NETWORKS = [lively_model("bn"), lively_model("bn+in", seed=1), lively_model("gn2", seed=2)]
SUBJECTS = [deployed(network, label) for network, label in zip(NETWORKS, "abc", strict=True)]
ATTACKS = [parse_attack("bim2"), parse_attack("difgsm2")]
PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def known_images() -> ImageSet:
    """Labelled as one of the networks has it."""
    images = random_images(24)
    with torch.no_grad():
        pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
        labels = NETWORKS[0].on(NETWORKS[0].space.sample(stream(0, "x")))(pixels).argmax(1).numpy()
    return ImageSet(images.classes, images.images, labels, images.indices)


def test_an_ensemble_is_the_weighted_sum_and_each_member_draws_for_itself() -> None:
    fused = FusedLogits(NETWORKS, [0.5, 0.3, 0.2])
    path = fused.space.sample_each(ExampleStreams(0, "p", indices=range(4)))
    own = NETWORKS[1].space.sample_each(ExampleStreams(0, "p", indices=range(4)))
    fixed = [network.space.sample(torch.Generator()) for network in NETWORKS]
    expected = sum(weight * network.on(drawn)(PIXELS) for weight, network, drawn in
                   zip([0.5, 0.3, 0.2], NETWORKS, [fixed[0], own, fixed[2]], strict=True))
    assert torch.allclose(fused.on(path)(PIXELS), expected, atol=1e-6)
    twice = FusedLogits([NETWORKS[1], lively_model("bn+in", seed=4)], [0.5, 0.5]).space
    both = twice.sample_each(ExampleStreams(0, "p", indices=range(50))).choices
    assert not torch.equal(both[:, :6], both[:, 6:])


def test_an_ensemble_of_one_network_is_that_network() -> None:
    network = NETWORKS[1]
    path, labels = network.space.sample(stream(0, "x")), torch.arange(4)
    alone = OnePath(network, path).gradient(PIXELS, labels)
    assert torch.allclose(OnePath(FusedLogits([network], [1.0]), path).gradient(PIXELS, labels), alone)
    two = FusedLogits([network, NETWORKS[0]], [1.0, 0.0])
    assert torch.allclose(OnePath(two, path).gradient(PIXELS, labels), alone)


def test_several_attacks_are_each_what_they_are_alone() -> None:
    with at_rest(NETWORKS):
        found = transfers(SUBJECTS, ATTACKS, keys(), 10, work(), {"all but a": {"b": 0.5, "c": 0.5}})
        for spec, matrix in zip(ATTACKS, found.matrices, strict=True):
            for row, alone in zip(matrix[:3], transfer(SUBJECTS, spec, keys(), 10, work()), strict=True):
                assert all(np.array_equal(x.after, y.after) for x, y in zip(row, alone, strict=True))
            assert [len(row) for row in matrix] == [3, 3, 3, 4]  # the ensemble predicts its own images, too


def test_on_images_that_all_classify_correctly_success_is_what_accuracy_lacks() -> None:
    ensembles, images = {"a & b": {"a": 0.5, "b": 0.5}}, known_images()
    subjects = [SUBJECTS[0], deployed(lively_model("bn"), "b")]
    with at_rest(NETWORKS):
        found = transfers(subjects, ATTACKS, keys(), 10, work(images), ensembles, common=True)
        every = transfers(subjects, ATTACKS, keys(), 10, work(images), ensembles)
    assert found.pool is not None
    assert 0 < found.pool.sum() <= len(found.pool)
    for matrix, whole in zip(found.matrices, every.matrices, strict=True):
        for row, full in zip(matrix, whole, strict=True):
            for cell, other in zip(row, full, strict=True):
                assert cell.success is not None
                assert cell.success[0] == pytest.approx(1 - cell.accuracy[0])
                assert np.array_equal(cell.after, other.after[found.pool])  # who else is attacked changes nothing


def test_no_image_that_all_classify_correctly_is_said() -> None:
    images = known_images()
    wrong = ImageSet(images.classes, images.images, (images.labels + 1) % 10, images.indices)
    with at_rest(NETWORKS), pytest.raises(InvalidValue, match="common"):
        transfers(SUBJECTS, ATTACKS, keys(), 10, work(wrong), common=True)


def study(**settings: object) -> TransferMatrix:
    return TransferMatrix.model_validate({"eps": "16/255", "draws": 2, "batch_size": 4, **settings})


def test_records_of_one_attack_say_nothing_of_what_came_later() -> None:
    assert not {"attacks", "ensembles", "common"} & set(study(attack="bim2").model_dump())
    assert study(attacks=["bim2"]) == study(attack="bim2")
    several = study(attacks=["bim2", "fgsm"], ensembles="hold-out", common=True)
    assert TransferMatrix.model_validate(several.model_dump(mode="json")) == several


def test_every_number_of_several_attacks_is_in_rows_tables_and_figure() -> None:
    asked = study(attacks=["bim2", "difgsm2"], ensembles="hold-out")
    networks: Any = list(zip("abc", NETWORKS, strict=True))
    with at_rest(NETWORKS):
        results = asked.compute(networks, 10, work())
    attacks = [{"name": name, "eps": 16 / 255, "step_size": 4 / 255} for name in ("bim2", "difgsm2")]
    record = {"models": [model(label, "bn") for label in "abc"], "keys": asked.model_dump(mode="json"), "attack": None,
              "attacks": attacks, "data": {"name": "digits", "indices": list(range(12))}, "results": results}
    rows = TransferMatrix.rows(record)
    assert len(rows) == 2 * (9 + 3 * 4)
    assert len({(row["attack"], row["source"], row["target"]) for row in rows}) == len(rows)
    for title, headings, lines in TransferMatrix.tables(record):
        assert title
        assert headings == ["source \\ target", "attack", "a", "b", "c", "itself"]
        assert len(lines) == 2 * 6
        assert all(len(line) == len(headings) for line in lines)
    said = " ".join(TransferMatrix.findings(record))
    assert "accuracy after difgsm2 less that after bim2" in said
    assert said.count("on networks outside it: a ") == 2
    assert "BIM-2, DIFGSM-2, Linf eps 16/255, step 4/255" in caption(record)
    left = TransferMatrix.figures(record)[""].axes[0]
    assert sum("[" not in text.get_text() for text in left.texts) == len(rows)


def test_each_attack_is_compared_with_every_one_before_it() -> None:
    asked = study(attacks=["fgsm", "bim2", "difgsm2"])
    with at_rest(NETWORKS):
        found = asked.compute(list(zip("abc", NETWORKS, strict=True)), 10, work())["compared"]
    gaps = {(pair["attack"], pair["than"]): pair["gap"] for pair in found}
    assert list(gaps) == [("bim2", "fgsm"), ("difgsm2", "fgsm"), ("difgsm2", "bim2")]
    assert gaps["difgsm2", "fgsm"] == pytest.approx(gaps["difgsm2", "bim2"] + gaps["bim2", "fgsm"])
    assert all(pair["interval95"][0] <= pair["gap"] <= pair["interval95"][1] for pair in found)
