"""Sanity checks 4 and 8: what is seen of the model itself, and which rows it concerns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnabench
from rnabench.data.batches import Batch
from rnabench.defence.foreign import ForeignModel
from rnabench.evaluation.diagnosis import Diagnosis, diagnose
from rnabench.path.path import Path
from rnabench.report.record_file import read_record
from rnabench.report.scores import judged
from rnabench.scoring.flag import Flag, Row
from rnabench.scoring.model_checks import gradients, normalisation
from rnabench.scoring.outcome import Outcome
from tests.helpers import Lambda, lively_model
from tests.report.records import changed

EPS = 0.1
STATISTICS = (0.5, 0.4, 0.3), (0.2, 0.25, 0.2)
MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in STATISTICS)


def row(name: str, accuracy: float = 0.5, protocol: str = "any", **parameters: object) -> Row:
    correct = (np.arange(40) < 40 * accuracy)[:, None]
    kind = name.split("-")[0].rstrip("0123456789")
    values = {"kind": kind, "eps": EPS, **({"loss": "ce", "restarts": 1} if kind == "pgd" else {}), **parameters}
    return Row(Outcome(name, protocol, correct, correct[:, 0], correct[:, 0], None), values)


ROWS = [Row(row("natural").outcome, {}), row("fgsm"), row("pgd20"), row("pgd20-margin", loss="margin"),
        row("apgd-dlr", loss="dlr"), row("apgd-t", loss="t"), row("cw"), row("deepfool"), row("autoattack"),
        row("square500", 0.125)]


def images(count: int = 40) -> Batch:
    """Noisy grey images, from dark to bright by class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (count,), generator=generator)
    noise = torch.rand(count, 3, 8, 8, generator=generator) / 20
    return Batch(labels.view(-1, 1, 1, 1) / 10.5 + noise, labels, list(range(count)))


def centres(batch: Batch, prepare: Callable[[Tensor], Tensor], scale: float = 5) -> nn.Module:
    """A network that knows the images by heart as `prepare` makes them: logits fall with the squared distance."""
    known, labels = prepare(batch.images).flatten(1), batch.labels

    def logits(x: Tensor) -> Tensor:
        nearness = -scale * torch.cdist(x.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist").square()
        return torch.stack([nearness[:, labels == k].amax(1) for k in range(10)], dim=1)
    return Lambda(logits)


def seen(network: nn.Module, batch: Batch) -> Diagnosis:
    model = ForeignModel(network, batch.images[:8], 10)
    parts = [batch.part(low, low + 16) for low in range(0, len(batch.indices), 16)]
    return diagnose(model, Path(((),)), parts, False, [], STATISTICS)


def check4(zero: Mapping[str, float] | float, rows: list[Row] | None = None, **more: object) -> Flag:
    diagnosis = {"images": 40, "zero_gradients": zero, "probabilities": False, "was_training": False, "changed": []}
    return gradients(rows or ROWS, EPS, diagnosis | more)


def normalise(x: Tensor) -> Tensor:
    return (x - MEAN) / STD


def test_saturated_logits_have_no_cross_entropy_gradient_but_a_margin() -> None:
    batch = images()
    zero = seen(centres(batch, lambda x: x, scale=1e4), batch).zero_gradients
    assert zero == {"ce": 1.0, "margin": 0.0, "dlr": 0.0}


def test_zero_gradients_mark_the_rows_that_follow_them_and_no_others() -> None:
    found = check4({"ce": 1.0, "margin": 0.0, "dlr": 0.0})
    assert found.status == "FAIL"
    assert [name for name, _ in found.rows] == ["fgsm", "pgd20"]
    assert "cross-entropy" in found.text
    assert "margin" not in found.text
    margin = check4({"ce": 0.0, "margin": 0.9, "dlr": 0.0})
    assert [name for name, _ in margin.rows] == ["pgd20-margin", "cw", "deepfool"]
    both = check4({"ce": 0.5, "margin": 0.0, "dlr": 0.5})
    assert [name for name, _ in both.rows] == ["fgsm", "pgd20", "apgd-dlr", "apgd-t", "autoattack"]


def test_a_loss_that_no_row_follows_is_no_fault() -> None:
    rows = [ROWS[0], row("pgd20-margin", loss="margin")]
    assert check4({"ce": 1.0, "margin": 0.0, "dlr": 0.0}, rows).status == "PASS"


def test_a_few_zero_gradients_warn_and_other_faults_concern_all_rows() -> None:
    assert check4({"ce": 0.05, "margin": 0.0}).status == "WARN"
    everything = check4({"ce": 0.5, "margin": 0.0}, probabilities=True)
    assert (everything.status, everything.rows) == ("FAIL", ())


def test_records_that_know_only_cross_entropy_are_read_as_such() -> None:
    assert check4(0.0).status == "PASS"
    assert [name for name, _ in check4(1.0).rows] == ["fgsm", "pgd20"]


def test_a_record_without_these_observations_is_judged_by_what_it_has() -> None:
    old = read_record(FilePath(rnabench.__file__).parents[1] / "results" / "quickstart" / "bn.json")
    seen = {"images": 16, "zero_gradients": 1.0, "probabilities": False, "was_training": False, "changed": []}
    status = {flag.check: flag.status for flag in judged(changed(old, sanity={"diagnosis": seen})).sanity.flags}
    assert status[4] == "FAIL"
    assert status[8] == "n/a"


def test_a_model_without_gradients_fails_in_words_with_what_other_attacks_left() -> None:
    nothing = {"ce": 1.0, "margin": 1.0, "dlr": 1.0}
    found = check4(nothing)
    assert found.status == "FAIL"
    assert found.text == ("no gradient reaches the images: gradient attacks say nothing; square500 / any left 12.5 %, "
                          "no transfer attack was run")
    assert {name for name, _ in found.rows} == {each.outcome.attack for each in ROWS} - {"natural", "square500"}
    transfer = row("transfer-pgd20", 0.2, surrogate="bn (weights 0123)")
    assert check4(nothing, [*ROWS, transfer]).text.endswith("transfer-pgd20 / any from bn (weights 0123) left 20.0 %")
    assert check4(nothing, [ROWS[0], ROWS[-1]]).status == "WARN", "no row here follows a gradient"


def test_images_that_are_wrong_already_do_not_count_as_zero_gradients() -> None:
    """Where the right class is the third of all, DLR is 1 whatever the logits: its gradient is zero, and no loss."""
    batch = images(20)
    logits = torch.nn.functional.one_hot((batch.labels + 1) % 10, 10) * 3.0
    logits += torch.nn.functional.one_hot((batch.labels + 2) % 10, 10) * 2.0 + torch.eye(10)[batch.labels]
    logits[10:] = torch.eye(10)[batch.labels[10:]] * 5 + torch.arange(10.0) / 10  # right on the second half
    place, slope = batch.images.flatten(1), torch.randn(192, 10, generator=torch.Generator().manual_seed(1)) / 1000

    def network(x: Tensor) -> Tensor:
        nearest = torch.cdist(x.flatten(1), place).argmin(1)
        return logits[nearest] + x.flatten(1) @ slope
    assert seen(Lambda(network), batch).zero_gradients["dlr"] == 0


def test_two_classes_have_no_dlr() -> None:
    model = Lambda(lambda x: x.flatten(1)[:, :2])
    batch = images(4)
    wrapped = ForeignModel(model, batch.images, 2)
    labelled = Batch(batch.images, batch.labels % 2, batch.indices)
    assert set(diagnose(wrapped, Path(((),)), [labelled], False, []).zero_gradients) == {"ce", "margin"}


@pytest.mark.parametrize(("prepare", "inside", "status", "words"), [
    (lambda x: x, lambda x: x, "PASS", "natural accuracy 100.0 %"),
    (normalise, normalise, "PASS", "natural accuracy 100.0 %"),
    (normalise, normalise, "PASS", " images on one path"),
    (normalise, lambda x: x, "FAIL", "not normalised at all"),
    (normalise, lambda x: normalise(normalise(x)), "FAIL", "normalised twice"),
])
def test_normalisation(prepare: Callable[[Tensor], Tensor], inside: Callable[[Tensor], Tensor], status: str, words: str
                       ) -> None:
    """A network that learned images as `prepare` makes them, and is handed what `inside` makes of them."""
    batch = images()
    learned = centres(batch, prepare)
    found = seen(Lambda(lambda x: learned(inside(x))), batch)
    assert {len(text) for text in found.normalisation.values()} == {40}
    judged = normalisation({"normalisation": found.normalisation})
    assert judged.status == status, judged.text
    assert words in judged.text
    assert not judged.rows, "it concerns all rows"


def test_luck_on_a_few_images_is_no_normalisation_fault() -> None:
    lucky = {"given": "1110000000", "normalised": "1110001000", "unnormalised": "1010000000"}
    assert normalisation({"normalisation": lucky}).status == "PASS"
    assert normalisation({}).status == normalisation({"normalisation": {}}).status == "n/a", "records without it"


def test_batches_do_not_matter() -> None:
    model, batch = lively_model("bn"), images()
    path = model.space.sample(torch.Generator())
    whole = diagnose(model, path, [batch], False, [], STATISTICS)
    assert whole == diagnose(model, path, [batch.part(0, 7), batch.part(7, 40)], False, [], STATISTICS)
