"""A grey box: rows of the table whose images are made on another network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from rnabench.attack.estimators import GivenPaths
from rnabench.data.batches import ResidentSource
from rnabench.data.images import ImageSet
from rnabench.errors import InvalidValue, RnabenchError
from rnabench.evaluation.cells import Surrogate, cells, probes
from rnabench.evaluation.engine import evaluate, parameters_of
from rnabench.evaluation.ensemble import FusedLogits
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.scoring.outcome import Outcome
from rnabench.settings.attacks import at_home, parse_attack, parse_entry, with_steps
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe_loading import load_recipe
from tests.helpers import lively_model, random_images

TARGET = lively_model(layers=3)


def settings(*attacks: str, **more: Any) -> EvaluationSettings:
    return EvaluationSettings.model_validate({"attacks": attacks, "protocols": ["paper", "eot:3"], "draws": 2,
                                          "sanity": False, "batch_size": 24, "eps": "8/255", **more})


def recognised(count: int) -> ImageSet:
    """Images whose labels are what the target says of them most often."""
    images = random_images(count)
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2) / 255
    paths = GivenPaths(TARGET, list(TARGET.space.enumerate()))
    return replace(images, labels=paths.mean_logits(pixels).argmax(1).numpy())


def outcomes(keys: EvaluationSettings, surrogate: Surrogate) -> dict[tuple[str, str], Outcome]:
    found = evaluate(TARGET, TARGET, ResidentSource(recognised(24), torch.device("cpu")), 10, keys,
                     Journal(None, "x"), Silent(), StopRequest(), surrogate=surrogate)
    assert found is not None
    return {outcome.key: outcome for outcome in found.outcomes}


def test_images_made_on_the_network_itself_do_what_the_attack_on_it_does() -> None:
    found = outcomes(settings("pgd3", "transfer-pgd3"), Surrogate("itself", TARGET))
    for protocol in ("paper", "eot:3"):
        assert np.array_equal(found["transfer-pgd3", protocol].correct, found["pgd3", protocol].correct)


@pytest.mark.parametrize("several", [False, True])
def test_images_of_other_networks_do_less_than_those_of_its_own(several: bool) -> None:
    others = [lively_model("bn+in", 3, seed=1), lively_model("in", 3, seed=2)]
    made_on = FusedLogits(others, [1.0, 1.0]) if several else others[0]
    keys = settings("pgd3", "transfer-pgd3")
    found = outcomes(keys, Surrogate("other", made_on))
    assert found["pgd3", "eot:3"].accuracy < found["transfer-pgd3", "eot:3"].accuracy
    cell = next(cell for cell in cells(keys, True, "other") if cell.surrogate)
    assert parameters_of(cell, keys).items() >= {"kind": "transfer", "attack": "pgd3", "surrogate": "other"}.items()


def test_a_row_of_the_table_is_no_probe_once_more() -> None:
    keys = settings("transfer-pgd20", sanity=True)
    assert ("transfer-pgd20", "any") in {cell.key for cell in cells(keys, False, "other")}
    assert ("transfer-pgd20", "any") not in {cell.key for cell in probes(keys, False, "other")}


def test_a_name_says_which_attack_is_made_elsewhere() -> None:
    spec = parse_entry("transfer-mifgsm@4/255")
    assert at_home(spec) == parse_attack("mifgsm@4/255")
    assert with_steps(spec, 7).name == "transfer-mifgsm7@4/255"
    assert parse_entry("pgd20") == parse_attack("pgd20")


@pytest.mark.parametrize("name", ["transfer-cw", "transfer-autoattack", "transfer-", "transfer-pgd"])
def test_what_cannot_be_transferred_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue):
        parse_entry(name)
    with pytest.raises(InvalidValue):  # a study's attack is run where the study says
        parse_attack("transfer-pgd20")
    with pytest.raises(InvalidValue, match="transfer-"):
        parse_attack({"kind": "pgd", "name": "transfer-mine"})


@pytest.mark.parametrize(("more", "said"), [
    ({}, "--transfer-from RUN"), ({"protocols": ["same-path"]}, "same-path"), ({"backend": "torchattacks"}, "native")])
def test_what_it_needs_is_said_before_anything_starts(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        cells(settings("transfer-pgd3", **more), True)


def test_a_recipe_has_no_other_network(tmp_path: Any) -> None:
    file = tmp_path / "grey.yaml"
    file.write_text("name: grey\ntitle: Grey\nmodels: {bn: {space: bn}}\n"
                    "evaluate: {attacks: [transfer-pgd20], protocols: [paper]}\n")
    with pytest.raises(RnabenchError, match=r"transfer-pgd20.*--transfer-from RUN"):
        load_recipe(file)
