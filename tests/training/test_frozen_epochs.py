"""The last epochs with frozen statistics (the thesis's consistent BN), and the new settings in a whole training."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.jobs.train import train
from rnabench.norm.layers import norm_layers, statistics_from
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.base import from_options
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.objective import check_network
from tests.cli.test_cli import run
from tests.helpers import AfterSteps, lively_model
from tests.training.test_update import RATE, batch, update_of


def state(update: object) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in update.model.state_dict().items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["plain", "captured"])
@pytest.mark.parametrize(("space", "settings"), [
    ("bn", {}), ("bn+in", {"track_attack_stats": True}), ("mbn", {"objective": "mbn"}), ("robust+bgn2", {})])
def test_running_statistics_stand_still_while_weights_move(kind: str, space: str, settings: dict[str, object]) -> None:
    update = update_of(kind, space, "cpu", {"epochs": 3, "frozen_epochs": 1, **settings})
    for epoch in range(3):
        before = state(update)
        for number in range(3):
            update(batch(number, "cpu"), epoch, number, RATE)
        changed = {name for name, value in state(update).items() if not torch.equal(value, before[name])}
        assert bool(changed & {name for name, _ in update.model.named_buffers()}) is (epoch < 2)
        assert changed & {name for name, value in update.model.named_parameters() if value.dim() == 1}  # of norms
    assert all(norm.statistics == "own" for norm in norm_layers(update.model).values())


def test_they_are_what_normalises_also_in_the_attack() -> None:
    """A step of a frozen epoch is one of a network that takes running statistics throughout."""
    frozen, other = (update_of("plain", "bn", "cpu", {"epochs": 2, "frozen_epochs": count}) for count in (1, 0))
    assert [frozen.step.frozen(epoch) for epoch in (0, 1)] == [False, True]
    loss, _ = frozen(batch(0, "cpu"), 1, 0, RATE)
    with statistics_from(other.model, "running"):
        expected, _ = other(batch(0, "cpu"), 1, 0, RATE)
    assert float(loss) == float(expected)
    torch.testing.assert_close(state(frozen), state(other), rtol=0, atol=0)
    update = update_of("plain", "bn", "cpu", {"epochs": 2})
    assert float(update(batch(0, "cpu"), 1, 0, RATE)[0]) != float(loss)
    step = update_of("plain", "bn", "cpu", {"epochs": 2, "frozen_epochs": 1}).step
    assert float(step(batch(0, "cpu"), 1, 0)[0].detach()) == float(loss)


EVERYTHING = {"objective": "alp", "space": "mbn", "target": "random", "clean_start": 0.2, "clean_weight": 0.4,
              "clean_share": 0.5, "pairing": 0.1, "label_smoothing": 0.1, "frozen_epochs": 1}


@pytest.mark.parametrize("keys", [EVERYTHING, {"objective": "advprop", "space": "mbn+in", "select": "best"}])
def test_stopped_after_any_step_it_ends_with_the_same_weights(tmp_path: Path, keys: dict[str, object]) -> None:
    recipe = from_options(TrainingSettings, {"lr": 0.01, "epochs": 2, "steps": 1, "width": 2, "batch_size": 32,
                                             "n_train": 64, "n_holdout": 16, "dataset": "digits16", **keys})
    found, stops = [], 0
    for name, stop in (("whole", None), ("parts", 1)):
        while True:
            try:
                train(recipe, tmp_path / name, Silent(), AfterSteps(1) if stop else StopRequest(), "cpu")
                break
            except Stopped:
                stops += 1
        log = [list(row.values())[:-1] for row in csv.DictReader((tmp_path / name / "log.csv").open())]
        found.append((sha256(tmp_path / name / "model.safetensors"), log))
    assert stops >= 2
    assert found[0] == found[1]


def test_only_what_is_not_the_default_counts() -> None:
    base = {"objective": "alp", "space": "mbn"}
    plain = from_options(TrainingSettings, base).digest()
    digests = {from_options(TrainingSettings, base | {name: value}).digest() for name, value in EVERYTHING.items()
               if name not in base}
    assert len(digests) == 7
    assert plain not in digests
    defaults = {name: TrainingSettings.model_fields[name].default for name in EVERYTHING if name not in base}
    assert from_options(TrainingSettings, base | defaults).digest() == plain


def test_settings_are_refused_by_objectives_that_do_not_use_them() -> None:
    for name, objective in OBJECTIVES.items():
        for setting in ("target", "clean_start", "clean_weight", "clean_share", "pairing", "label_smoothing"):
            options = {"objective": name, setting: EVERYTHING[setting]}
            if setting in objective.settings:
                assert from_options(TrainingSettings, options).digest()
                continue
            with pytest.raises(InvalidSettings, match=f"--{setting.replace('_', '-')}: .* expected objective '.*' with "
                                                      f"it, not '{name}'"):
                from_options(TrainingSettings, options)
        if "target" in objective.settings:
            assert objective.attacks


@pytest.mark.parametrize(("options", "words"), [
    (["--objective", "mbn"], "--objective: 'mbn' is not valid; expected a network with mixture BNs (--space mbn)"),
    (["--objective", "mbm"], "did you mean 'mbn'"),
    (["--objective", "standard", "--target", "random"], "--target: 'random' is not valid; expected objective 'adv"),
    (["--target", "randon"], "did you mean 'random'"),
    (["--objective", "mix", "--clean-share", "1.5"], "--clean-share: 1.5 is not valid; expected at most 1"),
    (["--objective", "mix", "--clean-weight", "-0.1"], "--clean-weight: -0.1 is not valid; expected at least 0"),
    (["--objective", "mix", "--pairing", "1"], "--pairing: 1.0 is not valid; expected objective 'alp' with it"),
    (["--clean-start", "2"], "--clean-start: 2.0 is not valid; expected at most 1"),
    (["--label-smoothing", "1"], "--label-smoothing: 1.0 is not valid; expected a number less than 1"),
    (["--epochs", "3", "--frozen-epochs", "4"], "--frozen-epochs: 4 is not valid; expected at most the 3 epochs"),
    (["--space", "gn2", "--frozen-epochs", "1"], "--frozen-epochs: 1 is not valid; expected 0: no normaliser of space "
     "'gn2' keeps running statistics"),
    (["--space", "bn-axu"], "did you mean 'bn-aux'"),
])
def test_wrong_options_are_told_before_anything_is_written(options: list[str], words: str, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--dataset", "digits16", "--width", "2", "--device", "cpu", "--out", str(tmp_path / "run"),
               *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_network_without_running_statistics_has_none_to_freeze() -> None:
    recipe = from_options(TrainingSettings, {"frozen_epochs": 1, "space": "ln"})
    with pytest.raises(InvalidValue, match="--frozen-epochs"):
        check_network(recipe, lively_model("ln"))
    check_network(recipe, lively_model("ln+bn"))
