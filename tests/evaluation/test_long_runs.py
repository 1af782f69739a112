"""What long evaluations need: memory that runs out, attacks on what still stands, probes, time estimates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.path.path import Path as ModelPath
from rnabench.path.space import PathSpace
from rnabench.runtime.progress import Silent
from tests.helpers import full_evaluation, lively_model, random_images, run_evaluation


class Lines(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


class SmallMemory:
    """A defence whose device holds only so many images at once."""

    def __init__(self, model: nn.Module, most: int) -> None:
        self.model, self.most, self.space = model, most, model.space

    def on(self, path: ModelPath) -> Callable[[Tensor], Tensor]:
        view = self.model.on(path)  # type: ignore[operator]

        def run(images: Tensor) -> Tensor:
            if len(images) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return view(images)  # type: ignore[no-any-return]

        return run


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_when_memory_runs_out_the_batch_is_halved_and_the_outcome_is_the_same(granularity: str) -> None:
    """Frozen and per-batch paths are the batch's, not the half's."""
    model, lines = lively_model(), Lines()
    keys: dict[str, object] = {"attacks": ["pgd2", "mifgsm2", "square5"], "protocols": ["paper", "eot:1"],
                               "granularity": granularity, "batch_size": 12, "sanity": False}
    whole = full_evaluation(model, **keys).outcomes
    # the time estimate and the diagnosis also run: they have to fit too
    parts = full_evaluation(model, defence=SmallMemory(model, 7), progress=lines, **keys).outcomes  # type: ignore[arg-type]
    assert [a.correct.tolist() for a in whole] == [b.correct.tolist() for b in parts]
    assert any("out of memory" in line and "6 images" in line for line in lines.said)


def test_memory_that_does_not_hold_one_image_is_an_error() -> None:
    model = lively_model()
    with pytest.raises(torch.OutOfMemoryError):
        run_evaluation(model, defence=SmallMemory(model, 0))  # type: ignore[arg-type]


def test_cumulative_attacks_see_only_what_still_stands() -> None:
    model, seen = lively_model("bn"), []

    class Spy:
        space = model.space

        def on(self, path: ModelPath) -> Callable[[Tensor], Tensor]:
            def run(images: Tensor) -> Tensor:
                seen.append(len(images))
                return model.on(path)(images)  # type: ignore[no-any-return]

            return run

    data = random_images()
    with torch.no_grad():
        logits = model(torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255)
    data.labels[:8] = logits.argmax(1)[:8].numpy()
    keys: dict[str, object] = {"images": data, "attacks": ["fgsm", "pgd2"], "eps": "2/255", "batch_size": 12}
    plain = run_evaluation(model, **keys)
    seen.clear()
    natural, fgsm, pgd = run_evaluation(model, defence=Spy(), cumulative=True, **keys)  # type: ignore[arg-type]
    assert np.array_equal(natural.correct, plain[0].correct)
    assert not (fgsm.correct & ~natural.correct).any()
    assert not (pgd.correct & ~fgsm.correct).any()
    assert 0 < natural.accuracy < 1
    assert round(12 * natural.accuracy) in seen  # FGSM's batch: those that were right
    with pytest.raises(InvalidValue, match="cumulative"):
        run_evaluation(lively_model(), cumulative=True)


def test_probes_are_on_few_images_and_not_in_the_table() -> None:
    found = full_evaluation(lively_model(), attacks=["fgsm"], protocols=["eot:2"], sanity_examples=5)
    assert [outcome.key for outcome in found.outcomes] == [("natural", "any"), ("fgsm", "eot:2")]
    assert found.probes
    assert {len(probe.correct) for probe in found.probes} == {5}
    assert ("pgd20", "same-path") in [probe.key for probe in found.probes]


@pytest.mark.slow
def test_a_stopped_evaluation_goes_on_within_its_probes(tmp_path: Path) -> None:
    from rnabench.runtime.stopping import Stopped
    from tests.helpers import AfterSteps

    keys: dict[str, object] = {"attacks": ["fgsm"], "protocols": ["eot:2"], "sanity_examples": 6}
    whole, stops = full_evaluation(lively_model(), **keys), 0
    while True:
        try:
            parts = full_evaluation(lively_model(), tmp_path, stop=AfterSteps(5), **keys)
            break
        except Stopped:
            stops += 1
    assert stops >= 3
    assert [a.correct.tolist() for a in whole.probes] == [b.correct.tolist() for b in parts.probes]


class TwoMinds:
    """Two classes and two equally likely paths; class 0 is right. What hurts one path most helps the other, but there
    is a direction, less steep on either, that hurts both."""

    space = PathSpace(("only",), (("a", "b"),))
    weights = 0.05 * torch.tensor([[-3.0, 7.0, 0.0], [7.0, -3.0, 0.0]])  # so small that cross-entropy is nearly linear

    def on(self, path: ModelPath) -> Callable[[Tensor], Tensor]:
        chosen = torch.tensor([row[0] for row in path.rows])

        def logits(images: Tensor) -> Tensor:
            score = 0.05 * 0.15 + ((images[:, :, 0, 0] - 0.5) * self.weights[chosen]).sum(1)
            return torch.cat([torch.stack([score, -score], 1), torch.full((len(images), 8), -30.0)], 1)

        return logits


def test_averaging_reaches_the_known_optimum_and_a_frozen_path_does_not() -> None:
    """The mean slope is 2 (times 0.05) in both pixels: within eps 0.1 the best is to lower both, which leaves
    0.15 + 0.3 - 0.7 < 0 on both paths, accuracy 0. Frozen, path a gets (+, -): 0.15 - 0.3 - 0.7 on a, but
    0.15 + 0.7 + 0.3 > 0 on b: accuracy 1/2 over fresh draws."""
    data = random_images(40, classes=1, size=1)
    data.images[:] = 128
    model = nn.Linear(1, 1)  # stands for the parameters; the toy has none
    found = full_evaluation(model, images=data, defence=TwoMinds(), attacks=["pgd20"], eps=0.1,  # type: ignore[arg-type]
                            protocols=["paper", "eot:20"], step_size=0.02, draws=40, batch_size=4, sanity=False)
    natural, paper, averaged = found.outcomes
    assert natural.accuracy == 1
    assert paper.accuracy == pytest.approx(0.5, abs=0.12)
    assert averaged.accuracy == 0
    for outcome in found.outcomes:
        assert outcome.worst <= outcome.accuracy <= 1
