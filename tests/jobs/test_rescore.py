"""Images that an evaluation kept, scored anew: on its own draws the same outcomes, bit by bit; on others what chance
allows; and a number that was never measured is found out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnabench.evaluation.cells import Surrogate, cells, probes
from rnabench.evaluation.engine import cell_name
from rnabench.evaluation.kept_images import PIECE, KeptImages, keeps_images
from rnabench.evaluation.rescoring import rescore as score
from rnabench.jobs.evaluate import attack, attack_some, cell_journal, identity
from rnabench.jobs.rescore import checked, settings_of
from rnabench.jobs.target import Target, open_data
from rnabench.report.record import Record, Result
from rnabench.report.record_file import read_record, write_record
from rnabench.report.rescored import Rescored, Rescoring
from rnabench.report.scores import judged
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.scoring.outcome import Outcome
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from tests.helpers import AfterBatches, AfterSteps, lively_model

KEYS = {"attacks": ["fgsm", "pgd2"], "protocols": ["paper", "eot:2"], "n_examples": 10, "draws": 3, "batch_size": 4,
        "attack_paths": 3, "sanity": False, "keep_images": True}


def settings(**keys: object) -> EvaluationSettings:
    return EvaluationSettings.model_validate({**KEYS, **keys})


def target_of(model: nn.Module, keys: EvaluationSettings) -> Target:
    data = open_data(DataSettings(), keys, torch.device("cpu"))
    described = {"label": "lively", "digest": None, "weights_sha256": "0" * 64,
                 "randomised": model.space.is_random,  # type: ignore[union-attr]
                 "batch_dependent": model.batch_dependent}
    made_on = Surrogate("another", lively_model("bn", seed=1)) if keys.entries()[0].attack.transferred else None
    return Target(model, model, data, described, torch.device("cpu"), surrogate=made_on)  # type: ignore[arg-type]


def again(target: Target, file: Path, keys: EvaluationSettings | None = None) -> list[tuple[Result, Outcome]]:
    """Every cell of the record scored anew, with its own settings or others."""
    place, record, chosen = checked(file)
    own = settings_of(place, record)
    by_key = {cell.key: cell for cell in cells(own, record.model.randomised, record.surrogate)}
    return [(result, score(target.module, target.defence, target.data.source, 10, keys or own,
                           by_key[result.attack, result.protocol], result.images, images, Silent(), StopRequest()))
            for result, images in chosen]


@pytest.mark.parametrize(("space", "keys"), [
    ("bn+in", {}),
    ("bn+in", {"protocols": ["same-path", "resample"], "n_examples_of": {"pgd2": 6}}),
    ("bn+in", {"granularity": "sample"}),
    ("bn+in", {"attacks": ["cw3", "pgd2@0.25"], "norm": "L2", "eps": 0.5}),
    ("bn+robust", {"n_examples_of": {"pgd2": 6}}),  # batch mates matter
    ("bn", {"cumulative": True, "eps": "1/255"}),
    ("bn+in", {"attacks": ["transfer-pgd2", "fgsm"]}), ("bn", {"attacks": ["transfer-pgd2"]}),
], ids=["paths", "same-path", "sample", "unbounded", "mates", "cumulative", "transferred", "transferred to one path"])
def test_on_its_own_draws_the_outcomes_are_the_same_bit_by_bit(
        space: str, keys: dict[str, Any], tmp_path: Path) -> None:
    target = target_of(lively_model(space), settings(**keys))
    record = attack(target, settings(**keys), tmp_path / "record.json", Silent(), StopRequest())
    scored = again(target, tmp_path / "record.json")
    assert [result.kept_images is None for result, _ in scored] == [True] + [False] * (len(record.results) - 1)
    for result, outcome in scored:
        old = record.outcome(result)
        assert np.array_equal(outcome.correct, old.correct)
        assert np.array_equal(outcome.majority, old.majority)
        assert np.array_equal(outcome.reported, old.reported)
        assert np.array_equal(outcome.groups, old.groups)  # type: ignore[arg-type]
        assert (outcome.distances is None) == (old.distances is None)


def test_images_made_on_another_network_are_kept_and_scored_like_all(tmp_path: Path) -> None:
    keys = settings(attacks=["fgsm", "transfer-fgsm"])
    target = replace(target_of(lively_model("bn+in"), keys), surrogate=Surrogate("other", lively_model("bn", seed=5)))
    record = attack(target, keys, tmp_path / "record.json", Silent(), StopRequest())
    scored = again(target, tmp_path / "record.json")
    assert [result.attack for result, _ in scored] == [result.attack for result in record.results]
    assert all(np.array_equal(outcome.correct, record.outcome(result).correct) for result, outcome in scored)


def test_other_draws_give_other_outcomes_and_a_deterministic_network_has_none(tmp_path: Path) -> None:
    for space, same in (("bn+in", False), ("bn", True)):
        target = target_of(lively_model(space), settings())
        attack(target, settings(), tmp_path / f"{space}.json", Silent(), StopRequest())
        fresh = settings(seed=5, draws=7)
        scored = again(target, tmp_path / f"{space}.json", fresh)
        assert all(outcome.correct.shape[1] == (1 if same else 7) for _, outcome in scored)
        assert same == all(np.array_equal(outcome.correct, result.outcomes.correct.array())
                           for result, outcome in scored)


def test_stopped_anywhere_and_by_several_processes_the_files_are_the_same(tmp_path: Path) -> None:
    whole = attack(target_of(lively_model(), settings()), settings(), tmp_path / "whole.json", Silent(), StopRequest())
    target, file, stops = target_of(lively_model(), settings()), tmp_path / "parts.json", 0
    for name in ("pgd2", "natural"):  # as other processes take cells
        assert attack_some(target, settings(), file, lambda cell, name=name: cell.group == name,  # type: ignore[misc]
                           Silent(), StopRequest()) is None
    assert not (tmp_path / "parts.images").exists()
    while True:
        try:
            parts = attack(target, settings(), file, Silent(), AfterSteps(2))
            break
        except Stopped:
            stops += 1
    assert stops >= 2
    assert [(result.kept_images and result.kept_images.sha256) for result in parts.results] == [
        (result.kept_images and result.kept_images.sha256) for result in whole.results]
    assert {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")} == {
        "whole.json", "whole.images", "parts.json", "parts.images"}


def test_memory_holds_a_batch_at_a_time(tmp_path: Path) -> None:
    """The pieces that lie beside the journal have no more images than a batch."""
    target, keys = target_of(lively_model(), settings()), settings()
    with pytest.raises(Stopped):
        attack(target, keys, tmp_path / "record.json", Silent(), AfterBatches(tmp_path / "record.progress", 6))
    journal = cell_journal(target, keys, tmp_path / "record.json")
    first = cells(keys, True)[1]
    pieces = [journal.beside(cell_name(first, keys, 10), PIECE.format(number)) for number in range(3)]
    assert [len(KeptImages(piece).indices) for piece in pieces if piece] == [4, 4, 2]


def test_where_it_is_not_asked_for_nothing_changes(tmp_path: Path) -> None:
    plain, keeping = settings(keep_images=False), settings()
    target = target_of(lively_model(), plain)
    without = attack(target, plain, tmp_path / "without.json", Silent(), StopRequest())
    kept = attack(target, keeping, tmp_path / "kept.json", Silent(), StopRequest())
    assert identity(target, plain) == identity(target, EvaluationSettings.model_validate(
        {name: value for name, value in KEYS.items() if name != "keep_images"})) == without.digest != kept.digest
    written = (tmp_path / "without.json").read_text()
    assert "kept_images" not in written
    assert "keep_images" not in written
    assert [result.content() | {"kept_images": 0, "seconds": 0, "made_by": 0} for result in without.results] == [
        result.content() | {"kept_images": 0, "seconds": 0, "made_by": 0} for result in kept.results]
    # a record without images, and its batches, do not pass for one with them
    assert attack(target, keeping, tmp_path / "without.json", Silent(), StopRequest()).results[1].kept_images


def planted(record: Record, share: float) -> Record:
    """The record with a number that nobody measured."""
    def raised(result: Result) -> Result:
        old = record.outcome(result)
        rng = np.random.default_rng(0)
        lucky = replace(old, correct=old.correct | (rng.random(old.correct.shape) < share))
        return Result.of(lucky, result.draws_are, result.parameters).model_copy(
            update={"kept_images": result.kept_images})

    return judged(record.model_copy(update={"results": [
        result if result.attack == "natural" else raised(result) for result in record.results]}))


@pytest.mark.parametrize("space", ["bn", "bn+in"])
def test_a_number_that_nobody_measured_does_not_hold(space: str, tmp_path: Path) -> None:
    keys = settings(n_examples=120, batch_size=60, attack_paths=60, attacks=["fgsm"], protocols=["eot:2"])
    target, file = target_of(lively_model(space), keys), tmp_path / "record.json"
    measured = attack(target, keys, file, Silent(), StopRequest())
    for record, holds in ((measured, True), (planted(measured, 0.5), False)):
        write_record(record, file)
        record = read_record(file)
        fresh = [Rescored(result, outcome) for result, outcome in again(target, file, keys.model_copy(
            update={"seed": 1}))]
        found = Rescoring(record, fresh, "its own network", True, 1, 3)
        assert found.failed is not holds
        assert [row["agrees"] for row in found.rows] == [True, holds]
        assert not Rescoring(record, fresh, "another", False, 1, 3).failed  # which the record says nothing of


def test_where_all_images_share_their_draws_nothing_is_claimed_of_others(tmp_path: Path) -> None:
    keys = settings(attack_paths=1, attacks=["fgsm"], protocols=["paper"])
    target, file = target_of(lively_model(), keys), tmp_path / "record.json"
    record = attack(target, keys, file, Silent(), StopRequest())
    fresh = [Rescored(*each) for each in again(target, file, keys.model_copy(update={"seed": 1}))]
    found = Rescoring(record, fresh, "its own network", True, 1, 3)
    assert [row["agrees"] for row in found.rows] == [None, None]
    assert all(row["reason"] for row in found.rows)
    assert not found.failed


def test_the_worst_case_is_scored_too_if_all_that_it_rests_on_is(tmp_path: Path) -> None:
    target, file = target_of(lively_model(), settings()), tmp_path / "record.json"
    record = attack(target, settings(), file, Silent(), StopRequest())
    scored = [Rescored(*each) for each in again(target, file)]
    *_, last = Rescoring(record, scored, "its own network", True, 0, 3).rows
    assert record.headline is not None
    assert (last["attack"], last["accuracy"]) == ("worst case of 2", record.headline.accuracy)
    fewer = Rescoring(record, scored[:-1], "its own network", True, 0, 3)
    assert len(fewer.rows) == len(scored) - 1


def test_only_the_tables_attacks_are_kept() -> None:
    keys = settings(sanity=True)
    assert [cell.key[0] for cell in [*cells(keys, True), *probes(keys, True)] if keeps_images(cell, keys)] == [
        "fgsm", "fgsm", "pgd2", "pgd2"]
    assert not any(keeps_images(cell, settings(keep_images=False)) for cell in cells(keys, True))
