"""Evaluations under the rules of CUDA, on a device that is simulated: the outcomes of the CPU, and few waits."""

from __future__ import annotations

import pytest

from rnabench.evaluation.engine import Evaluation
from tests.evaluation.test_resuming import same
from tests.helpers import full_evaluation, lively_model, random_images
from tests.simulated_gpu import simulated_gpu

DATA = random_images(4)


def evaluation(device: str, space: str = "bn+in", **keys: object) -> Evaluation:
    model = lively_model(space, layers=2).to(device)  # type: ignore[arg-type]
    return full_evaluation(model, images=DATA, **{"sanity": False, "batch_size": 2, "draws": 2, **keys})


def on_gpu(**keys: object) -> tuple[Evaluation, list[str]]:
    with simulated_gpu() as gpu:
        return evaluation("cuda", **keys), gpu.waits  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", [
    {"attacks": ["pgd3"], "protocols": ["paper", "eot:2", "same-path"]},
    {"attacks": ["pgd3-margin"], "protocols": ["paper", "eot:2:logits"], "granularity": "sample"},
    {"attacks": ["fgsm", "mifgsm2", "pgd2x2"], "protocols": ["resample"]},
    {"attacks": ["apgd-ce", "aggmo3", "storm3", "arc3"], "protocols": ["eot:2"]},
    {"attacks": ["apgd-t", "square9"], "protocols": ["paper"]},
    {"attacks": ["cw3", "deepfool"], "protocols": ["paper", "eot:2"]},
    {"attacks": ["pgd3"], "protocols": ["paper", "eot:2"], "backend": "torchattacks"},
    {"attacks": ["cw3", "apgd-dlr"], "protocols": ["paper"], "space": "bn"},
], ids=lambda keys: "-".join(keys["attacks"]))
@pytest.mark.slow
def test_outcomes_are_those_of_the_cpu(keys: dict[str, object]) -> None:
    """Of passes that are recorded and replayed."""
    found, _ = on_gpu(**keys, capture=True)
    assert same(found, evaluation("cpu", **keys))  # type: ignore[arg-type]


@pytest.mark.parametrize(("few", "many"), [("pgd2", "pgd6"), ("mifgsm2", "mifgsm6"), ("aggmo2", "aggmo6"),
                                           ("square2", "square6")])
def test_more_steps_are_no_more_waits(few: str, many: str) -> None:
    """A step that asks the device something keeps it idle."""
    first, second = (on_gpu(attacks=[attack], protocols=["eot:2"])[1] for attack in (few, many))
    assert len(first) == len(second) > 0
