"""Certified radii in the study: closed forms, a linear network whose radius is known, and who is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from rnabench import build_model
from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.defences.noise import InputNoise
from rnabench.model.defences.smoothing import Smoothed
from rnabench.settings.base import from_options
from rnabench.studies.certify import Certify
from rnabench.studies.measure.subject import at_rest
from tests.cli.test_cli import run
from tests.helpers import random_images
from tests.studies.test_transfer import work

IMAGES = random_images(12)
PIXELS = torch.from_numpy(IMAGES.images).permute(0, 3, 1, 2).float() / 255
SIGMA = 0.25


class HalfPlane(nn.Module):
    """Class 1 where a linear function of the image is above 0, else class 0 (of ten)."""

    def __init__(self, weight: Tensor, shift: float) -> None:
        super().__init__()
        self.weight, self.shift = nn.Parameter(weight), shift

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1) @ self.weight + self.shift
        return torch.cat([-value[:, None], value[:, None], torch.full((len(x), 8), -1e6)], 1)


WEIGHT = torch.randn(192, generator=torch.Generator().manual_seed(0)) / 192**0.5
PLANE = HalfPlane(WEIGHT, -float((PIXELS.flatten(1) @ WEIGHT).mean()))


def network(base: nn.Module) -> RandomizedClassifier:
    return RandomizedClassifier(Smoothed(nn.Sequential(InputNoise(SIGMA), nn.Identity()), base)).eval()


def measured(model: RandomizedClassifier, size: int = 12, **keys: Any) -> dict[str, Any]:
    study = Certify(**{"first_draws": 20, "draws": 300, **keys})
    study.check_network("net", model)
    with at_rest([model]):
        (found,) = study.compute([("net", model)], 10, work(IMAGES, size=size))["networks"]
    result: dict[str, Any] = found
    return result


def test_a_network_that_ignores_its_noise_has_the_closed_form() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.full((len(x),), 3), 10).float()

    found = measured(network(Constant()), alpha=0.01)
    expected = SIGMA * norm.ppf(0.01 ** (1 / 300))
    assert found["largest_radius"] == pytest.approx(expected)
    assert found["radius"] == pytest.approx([expected] * 12, rel=1e-4)
    assert found["predicted"] == [3] * 12
    right = IMAGES.labels == 3
    assert found["right"] == right.astype(int).tolist()
    for cell in found["certified"]:
        assert cell["accuracy"] == (right.mean() if cell["radius"] <= expected else 0)
        assert cell["interval95"][0] <= cell["accuracy"] <= cell["interval95"][1]
    mean, low, high = found["average_radius"]
    assert mean == pytest.approx(expected * right.mean())
    assert 0 <= low <= mean <= high <= found["largest_radius"]  # no mean of radii is negative


def test_a_linear_network_is_certified_up_to_its_boundary_and_hardly_less() -> None:
    """The smoothed classifier of a half-plane is that half-plane: its true radius is the distance."""
    found = measured(network(PLANE), draws=1000)
    values = (PIXELS.flatten(1) @ PLANE.weight + PLANE.shift).detach().numpy()
    distance = np.abs(values) / float(PLANE.weight.detach().norm())
    radius, predicted = np.array(found["radius"]), np.array(found["predicted"])
    assert (radius <= distance).all()
    assert (predicted[radius > 0] == (values > 0)[radius > 0]).all()
    sure = (distance > 0.15 * SIGMA) & (distance < 1.5 * SIGMA)
    assert sure.sum() >= 4
    assert (radius[sure] > distance[sure] - 0.35 * SIGMA).all()


def test_how_many_images_are_worked_on_at_once_does_not_matter() -> None:
    model = network(PLANE)
    assert measured(model, size=12, draws=40) == measured(model, size=5, draws=40)
    assert measured(model, draws=40) != measured(model, draws=40, seed=1)
    assert isinstance(model.network, Smoothed)
    assert model.network.votes == Smoothed.votes > 1  # as before


@pytest.mark.parametrize(("space", "defence", "line"), [
    ("bn", "none", "a randomised network: this one has a single path"),
    ("bn+in", "none", "a network with Gaussian noise at its input, once, as those of --defence smoothing"),
    ("bn", "rpf", "a network with Gaussian noise at its input"),
    ("bn-batch", "smoothing", "a network whose predictions do not depend on the images' batch mates"),
])
def test_other_networks_are_refused_in_one_line(space: str, defence: str, line: str) -> None:
    with pytest.raises(InvalidValue, match=line) as raised:
        Certify().check_network("net", build_model("resnet20", space, width=2, defence=defence))
    assert len(str(raised.value).splitlines()) == 1
    for kind in ("smoothing", "input-noise", "rse"):
        Certify().check_network("net", build_model("resnet20", "bn+in", width=2, defence=kind))


@pytest.mark.parametrize(("key", "value"), [("radii", "1,0.5"), ("radii", "a"), ("radii", ""), ("radii", "-1,0"),
                                            ("alpha", 0), ("alpha", 0.5), ("draws", 0), ("first_draws", 0)])
def test_settings_that_cannot_be(key: str, value: object) -> None:
    with pytest.raises(InvalidSettings, match=f"--{key.replace('_', '-')}: .*; expected"):
        from_options(Certify, {key: value})


def test_the_command_leaves_a_record_tables_and_figures(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("train", "--dataset", "digits16", "--arch", "lenet5", "--width", "2", "--defence", "smoothing0.1",
               "--objective", "standard", "--epochs", "1", "--n-train", "64", "--n-holdout", "2", "--batch-size", "32",
               "--device", "cpu", "--out", str(folder)) == 0
    command = ["certify", str(folder), "--draws", "50", "--first-draws", "5", "--alpha", "0.01", "--radii", "0,0.1,9",
               "--n-examples", "8", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert run(*command) == 0
    record = json.loads((tmp_path / "out" / "certify.json").read_text())
    (found,) = record["results"]["networks"]
    assert (found["sigma"], len(found["right"])) == (0.1, 8)
    rows = (tmp_path / "out" / "certify.csv").read_text().splitlines()
    assert len(rows) == 3
    assert found["largest_radius"] < 9
    assert "| 9        |" in (tmp_path / "out" / "certify.md").read_text()  # a dash, and no row
    before = (tmp_path / "out" / "certify.md").read_bytes()
    assert run(*command) == 0
    assert (tmp_path / "out" / "certify.md").read_bytes() == before
