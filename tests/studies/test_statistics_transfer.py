"""Linear probes by whose statistics a network normalises: what stands still, what is exact, what goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rnabench.data.batches import ResidentSource
from rnabench.data.digits import SmallDigits
from rnabench.data.images import ImageSet
from rnabench.data.sources import EvaluationData, ProbeData
from rnabench.errors import InvalidValue, NumericalError
from rnabench.jobs.study import run_study, study_identity
from rnabench.jobs.target import Target
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.population import batch_norms, population_statistics
from rnabench.report.study import write_study
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.datasets import DataSettings
from rnabench.studies.measure.probe import Probe, Seen, features, train_probe
from rnabench.studies.measure.statistics_transfer import arm_network, statistics_batches
from rnabench.studies.measure.work import Work
from rnabench.studies.statistics_transfer import ARMS, StatisticsTransfer
from tests.helpers import AfterSteps, lively_model, random_images, visible

CPU = torch.device("cpu")
FEW: dict[str, Any] = {"epochs": 3, "batch_size": 5, "lr": 0.1}


def source(images: ImageSet) -> ResidentSource:
    return ResidentSource(images, CPU)


def target(model: RandomizedClassifier, images: ImageSet, training: ImageSet, label: str = "bn") -> Target:
    data = EvaluationData(source(images), "random", images.classes, "test images", (), (),
                          ProbeData(source(training), source(training), training.fingerprint()))
    described = {"label": label, "weights_sha256": label, "arch": "tiny", "width": 8, "space": "bn",
                 "objective": "standard", "randomised": model.space.is_random}
    return Target(model, model, data, described, CPU)


def small(**keys: Any) -> StatisticsTransfer:
    return StatisticsTransfer.model_validate(FEW | keys)


def work(training: ImageSet, journal: Journal | None = None) -> Work:
    both = source(training)
    return Work(both, 5, journal or Journal(None, "digest"), Silent(), StopRequest(), None, ProbeData(both, both, ""))


def backbone(space: str = "bn") -> RandomizedClassifier:
    """`lively_model` without its classifier: 8 features."""
    model = lively_model(space).requires_grad_(False)
    model.set_submodule("network.20", nn.Identity())
    return model


def probed(network: nn.Module, tuned: list[nn.Parameter], images: ImageSet, how: StatisticsTransfer) -> Any:
    seen = Seen(source(images), network)
    return train_probe(Probe(8, 10, tuned, how, CPU), seen, seen, work(images), "probe")


def test_a_probe_of_features_is_the_probe_through_the_network() -> None:
    images, how, network = random_images(23), small(), backbone()
    made = Seen(features(network, source(images), work(images), "features"), nn.Identity())
    fast = train_probe(Probe(8, 10, [], how, CPU), made, made, work(images), "probe")
    slow = probed(network, [], images, how)
    np.testing.assert_allclose(fast["curve"], slow["curve"], rtol=1e-4)
    assert (fast["right"] == slow["right"]).all()
    assert fast["curve"][-1, 0] < fast["curve"][0, 0]


def test_a_probe_is_plain_sgd_along_a_cosine() -> None:
    """By torch's own classes, with batches of all images: their order says nothing."""
    images, how, network = random_images(12), small(batch_size=12, epochs=4), backbone()
    found = probed(network, [], images, how)
    linear = Probe(8, 10, [], how, CPU).classifier
    optimizer = torch.optim.SGD(linear.parameters(), lr=how.lr, momentum=how.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    batch = next(source(images).in_order(12))
    for epoch in range(4):
        loss = F.cross_entropy(linear(network(batch.images)), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        assert found["curve"][epoch, 0] == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("space", ["bn", "bgn4", "mbn"])
def test_only_what_an_arm_names_moves(name: str, space: str) -> None:
    images, network = random_images(23), backbone(space)
    statistics = population_statistics(network, statistics_batches(source(images), 8, seed=0))
    arm, tuned = arm_network(network, statistics if "recomputed" in name else None, "affine" in name)
    before = {key: tensor.clone() for key, tensor in arm.state_dict().items()}
    probed(arm, tuned, images, small(augment=True))
    trained = {id(parameter) for parameter in tuned}
    for key, tensor in arm.state_dict(keep_vars=True).items():
        assert torch.equal(tensor, before[key]) == (id(tensor) not in trained), key
    own = network.state_dict()
    moved = {key.rpartition(".")[2] for key in own if not torch.equal(own[key], arm.state_dict()[key])}
    assert moved == ({"running_mean", "running_var"} if "recomputed" in name else set()) | (
        {"weight", "bias"} if "affine" in name else set())
    assert len(tuned) == ("affine" in name) * 2 * len(batch_norms(network))


def test_statistics_batches_are_all_images_mixed_and_none_alone() -> None:
    images = random_images(21)
    for size in (2, 4, 5, 20, 128):
        batches = list(statistics_batches(source(images), size, seed=1))
        assert all(len(batch) > 1 for batch in batches)
        joined = torch.cat(batches)
        everything = next(source(images).in_order(21)).images
        assert not torch.equal(joined, everything)
        assert torch.equal(joined.flatten(1).sum(1).sort().values, everything.flatten(1).sum(1).sort().values)


def trained_on_digits(data: ImageSet, steps: int = 60) -> RandomizedClassifier:
    model = lively_model("bn").train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(steps):
        batch = next(source(data).shuffled(64, 0, step))
        loss = F.cross_entropy(model(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(True)


def test_on_its_own_data_a_network_does_as_well_with_recomputed_statistics(tmp_path: Path) -> None:
    training, images = (SmallDigits.load(split, DataSettings(dataset="digits16")) for split in ("train", "test"))
    asked = small(epochs=10, batch_size=128, arms=("source", "recomputed"))
    record = run_study([target(trained_on_digits(training), images, training)], asked, tmp_path / "s.json", Silent(),
                       StopRequest())
    source_arm, recomputed = record["results"]["networks"][0]["arms"]
    assert source_arm["accuracy"] > 0.7
    assert recomputed["accuracy"] == pytest.approx(source_arm["accuracy"], abs=0.04)
    assert recomputed["gain"][0] == pytest.approx(recomputed["accuracy"] - source_arm["accuracy"])
    low, high = recomputed["gain"][1:]
    assert low <= 0 <= high


@pytest.mark.parametrize("steps", [2, 9, 16, 23, 31, 45])
def test_a_stopped_study_goes_on_to_the_same_numbers(steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                     ) -> None:
    networks = [target(lively_model("bn"), random_images(12), random_images(23))]
    whole = run_study(networks, small(), tmp_path / "whole.json", Silent(), StopRequest())
    file = tmp_path / "part" / "statistics-transfer.json"
    with pytest.raises(Stopped):
        run_study(networks, small(), file, Silent(), AfterSteps(steps))
    assert not file.exists()
    begun = []
    monkeypatch.setattr(Probe, "epoch", lambda *given, own=Probe.epoch: (begun.append(given[2]), own(*given))[1])
    assert run_study(networks, small(), file, Silent(), StopRequest())["results"] == whole["results"]
    assert visible(file.parent) == {file.name}
    assert len(begun) < 12 or steps <= 9  # what was finished is not trained again


def test_a_foreign_or_damaged_state_is_not_gone_on_from(tmp_path: Path) -> None:
    images, how = random_images(23), small()
    seen = Seen(source(images), backbone())
    expected = train_probe(Probe(8, 10, [], how, CPU), seen, seen, work(images), "probe")
    for content in (b"", b"damaged", b"other"):
        journal = Journal(tmp_path / "progress", "digest")
        file = journal.beside(("probe",), ".pt")
        assert file is not None
        file.write_bytes(content)
        if content == b"other":
            torch.save({"piece": "another", "tensors": [], "curve": [[0.0, 0.0, 0.0]] * 3}, file)
        found = train_probe(Probe(8, 10, [], how, CPU), seen, seen, work(images, journal), "probe")
        assert (found["curve"] == expected["curve"]).all()


def test_another_training_set_or_setting_is_another_study() -> None:
    model, images = lively_model("bn"), random_images(12)
    names = [study_identity([target(model, images, random_images(count))], small(**keys)) for count, keys in (
        (23, {}), (22, {}), (23, {"lr": 0.2}), (23, {"arms": ("source",)}), (23, {"augment": True}))]
    assert len(set(names)) == len(names)


def test_the_record_and_its_files(tmp_path: Path) -> None:
    networks = [target(lively_model("bn", seed=seed), random_images(12), random_images(23), label)
                for seed, label in enumerate(("one", "two"))]
    file = tmp_path / "statistics-transfer.json"
    record = run_study(networks, small(), file, Silent(), StopRequest())
    write_study(record, file.with_suffix(""), "Title")
    assert visible(tmp_path) == {f"statistics-transfer.{ending}" for ending in ("json", "csv", "md", "png", "svg")}
    rows = StatisticsTransfer.rows(record)
    assert [(row["model"], row["arm"]) for row in rows] == [(name, arm) for name in ("one", "two") for arm in ARMS]
    for row, arm in zip(rows, [arm for network in record["results"]["networks"] for arm in network["arms"]],
                        strict=True):
        assert row["accuracy"] == arm["outcomes"].count("1") / 12 == pytest.approx(arm["curve"]["test"][-1])
        assert len(arm["curve"]["test"]) == 3
        assert row["trained"] == 90 + ("affine" in arm["arm"]) * 6 * 16
        assert (row["gain"] is None) == (arm["arm"] == "source")
    axes = StatisticsTransfer.figures(record)[""].axes
    assert [each.get_title(loc="left") for each in axes] == ["one", "two"]
    assert len(axes[0].get_legend_handles_labels()[1]) == 4
    assert json.loads(file.read_text())["data"]["fingerprint"] == "test images"


@pytest.mark.parametrize(("space", "expected"), [
    ("bn+in", "a network with a single path"), ("in", "with batch normalisations"), ("robust", "with batch norm"),
    ("bn-batch", "with batch normalisations"), ("robust-running", "with batch normalisations")])
def test_networks_that_it_says_nothing_about_are_refused(space: str, expected: str, tmp_path: Path) -> None:
    networks = [target(lively_model(space), random_images(12), random_images(23))]
    with pytest.raises(InvalidValue, match=f"RUN: 'bn' is not valid; expected {expected}" if "single" in expected else
                       expected):
        run_study(networks, small(), tmp_path / "s.json", Silent(), StopRequest())
    assert not visible(tmp_path)


def test_a_rate_that_diverges_is_told(tmp_path: Path) -> None:
    networks = [target(lively_model("bn"), random_images(12), random_images(23))]
    with pytest.raises(NumericalError, match=r"bn: affine: the loss is not finite in epoch \d; .* smaller --lr"):
        run_study(networks, small(lr=100, momentum=0.99, epochs=20, arms=("affine",)), tmp_path / "s.json", Silent(),
                  StopRequest())
