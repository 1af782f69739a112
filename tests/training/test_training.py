"""Training: objectives, schedules, and stopping anywhere with the same end."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnabench import load_model
from rnabench.data.batches import Batch
from rnabench.errors import CheckpointError, InvalidSettings, InvalidValue, NumericalError
from rnabench.jobs.train import train
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.runtime.files import sha256
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.seeding import ExampleStreams
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training import loop
from rnabench.training.loop import WARMUP, learning_rate
from rnabench.training.state import FILE as STATE
from rnabench.training.step import TrainingStep
from rnabench.training.update import Update
from tests.helpers import AfterSteps

SMALL = {"space": "bn+in", "width": 2, "steps": 1, "epochs": 2, "batch_size": 32, "n_train": 96, "n_holdout": 32}


def recipe(**changes: object) -> TrainingSettings:
    return from_options(TrainingSettings, {**SMALL, **changes})


def run(folder: Path, stop: StopRequest | None = None, **changes: object) -> str:
    train(recipe(**changes), folder, Silent(), StopRequest() if stop is None else stop, "cpu")
    return sha256(folder / "model.safetensors")


@given(st.sampled_from(["step", "cosine", "one-cycle"]), st.floats(0, 0.9999), st.floats(1e-4, 10))
def test_schedules_never_exceed_their_peak(schedule: str, progress: float, peak: float) -> None:
    assert 0 <= learning_rate(schedule, peak, progress) <= peak * (1 + 1e-9)
    assert max(learning_rate(schedule, peak, p) for p in (0, WARMUP)) == pytest.approx(peak)


def test_the_papers_schedule() -> None:
    """200 epochs: divided by ten at 100 and at 150."""
    rates = [learning_rate("step", 0.1, epoch / 200) for epoch in (0, 99, 100, 149, 150, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"granularity": "sample"}, {"objective": "white-box", "attack_mode": "eval"},
                                     {"objective": "standard", "schedule": "cosine", "select": "last"},
                                     {"weight_average": 0.6}])
def test_stopped_after_any_step_it_ends_with_the_same_weights(tmp_path: Path, changes: dict[str, object]) -> None:
    whole = run(tmp_path / "whole", **changes)
    folder, stops = tmp_path / "parts", 0
    while True:
        try:
            parts = run(folder, AfterSteps(1), **changes)
            break
        except Stopped:
            stops += 1
            assert not (folder / "model.safetensors").exists()
    assert stops >= 3
    assert parts == whole
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("whole", "parts")]
    for first, second in zip(*logs, strict=True):
        assert {k: v for k, v in first.items() if k != "images_per_second"} == {
            k: v for k, v in second.items() if k != "images_per_second"}
    assert not (folder / STATE).exists()


@pytest.mark.slow
def test_killed_at_three_moments_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """SIGKILL, so that nothing can be tidied up: in the first epoch, after a save, and near the end."""
    code = ("import sys, torch; torch.set_num_threads(1); import rnabench.training.loop as loop; "
            "loop.SAVE_SECONDS = 0; from rnabench.cli.main import main; main(sys.argv[1:])")
    folder = tmp_path / "killed"
    options = {"width": "2", "steps": "1", "epochs": "6", "batch-size": "32", "n-train": "128", "n-holdout": "32"}
    command = [sys.executable, "-c", code, "train", "--device", "cpu", "--out", str(folder),
               *(part for key, value in options.items() for part in (f"--{key}", value))]
    killed = 0
    for rows in (0, 2, 4):  # how many epochs are logged when the signal comes
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ready = folder / (STATE if rows == 0 else "log.csv")
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not (
                ready.exists() and (rows == 0 or len(ready.read_text().splitlines()) > rows)):
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed == 3
    assert not (folder / "model.safetensors").exists()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    whole = run(tmp_path / "whole", **{key.replace("-", "_"): int(value) for key, value in options.items()})
    assert sha256(folder / "model.safetensors") == whole


def test_a_finished_run_is_kept_and_another_recipe_refused(tmp_path: Path) -> None:
    before = run(tmp_path)
    changed = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run(tmp_path) == before
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == changed
    with pytest.raises(CheckpointError, match=r"lr is .* there and 0\.2 here"):
        run(tmp_path, lr=0.2)
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(CheckpointError, match="truncated"):
        run(tmp_path)


def test_a_run_folder_says_everything(tmp_path: Path) -> None:
    run(tmp_path, eps="4/255")
    described = json.loads((tmp_path / "run.json").read_text())
    options = {name for name, field in TrainingSettings.model_fields.items() if not field.exclude}
    assert set(described["recipe"]) == options
    assert described["recipe"]["eps"] == pytest.approx(4 / 255)
    assert described["resolved"]["step_size"] == pytest.approx(1 / 255)
    assert described["weights_sha256"] == sha256(tmp_path / "model.safetensors")
    assert described["data"]["train_examples"] == 96
    assert {"digest", "versions", "seeds", "device", "git", "status"} <= set(described)
    assert set(described["execution"]) == {"device", "max_minutes", "out"}
    assert not load_model(tmp_path).training


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 cut"])
def test_a_damaged_state_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, AfterSteps(1))
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        run(tmp_path)


def test_a_state_of_another_recipe_is_told(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        with pytest.raises(Stopped):
            run(tmp_path / name, AfterSteps(1), seed=seed)
    (tmp_path / "a" / STATE).write_bytes((tmp_path / "b" / STATE).read_bytes())
    with pytest.raises(CheckpointError, match=r"state\.pt"):
        run(tmp_path / "a", seed=1)


def test_a_run_that_diverges_says_so_and_saves_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(NumericalError, match="not finite"):
        run(tmp_path, lr=100, momentum=0.99, objective="standard", epochs=6, space="bn", weight_decay=0.99)
    state = tmp_path / STATE
    if state.exists():
        kept = torch.load(state, weights_only=True)
        assert all(bool(torch.isfinite(value).all()) for value in kept["model"].values())


def test_the_average_of_weights_is_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a <- d a + (1 - d) w after every update, from the first one's weights on; statistics too. Judged likewise."""
    seen: list[dict[str, torch.Tensor]] = []
    judged: list[dict[str, torch.Tensor]] = []
    called, accuracy = Update.__call__, loop.holdout_accuracy

    def kept(self: Update, *arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        result = called(self, *arguments)  # type: ignore[arg-type]
        seen.append({name: value.clone() for name, value in self.model.state_dict().items()})
        return result

    def judge(model: RandomizedClassifier, *arguments: object) -> tuple[float, float]:
        judged.append({name: value.clone() for name, value in model.state_dict().items()})
        return accuracy(model, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Update, "__call__", kept)
    monkeypatch.setattr(loop, "holdout_accuracy", judge)
    run(tmp_path, weight_average=0.6, select="last")
    saved = load_model(tmp_path).state_dict()
    for name, value in saved.items():
        if not value.is_floating_point():
            assert torch.equal(value, seen[-1][name])  # a counter
            continue
        expected = seen[0][name]
        for each in seen[1:]:
            expected = 0.6 * expected + 0.4 * each[name]
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6, msg=name)
        assert torch.equal(judged[-1][name], value)
    assert len(seen) == 6
    assert recipe(weight_average=0.6).digest() != recipe().digest()


def test_pickled_code_in_a_state_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "evil"),)

    with pytest.raises(Stopped):
        run(tmp_path / "run", AfterSteps(1))
    torch.save({"digest": Evil()}, tmp_path / "run" / STATE)
    with pytest.raises(CheckpointError):
        run(tmp_path / "run")
    assert not (tmp_path / "evil").exists()


def test_a_foreign_folder_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InvalidValue, match="--out"):
        run(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_training_attacks_leave_no_gradients_and_move_no_statistics() -> None:
    batch = Batch(torch.rand(8, 3, 32, 32), torch.arange(8), list(range(8)))
    for track in (False, True):
        model = build_model("resnet18", "bn+in", width=2)
        training_step = TrainingStep(model, recipe(track_attack_stats=track, steps=2))
        before = {name: value.clone() for name, value in model.named_buffers()}
        path = model.space.sample(torch.Generator().manual_seed(0))
        start = ExampleStreams(0, "start", indices=batch.indices)
        moved = training_step.adversarial(*training_step.attack(), batch.images, batch.labels, path, start.uniform)
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert model.training
        assert float((moved - batch.images).abs().max()) <= 8 / 255 + 1e-6
        same = all(torch.equal(value, before[name]) for name, value in model.named_buffers())
        assert same is not track


def test_white_box_trains_the_attacked_path_and_black_box_another(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(torch.rand(8, 3, 32, 32), torch.arange(8), list(range(8)))
    for name, expected in (("white-box", True), ("black-box", False)):
        model = build_model("resnet18", "bn+in", width=2)
        used: list[object] = []
        original = type(model).on

        def spy(self, path, used=used, original=original):  # type: ignore[no-untyped-def]
            used.append(path)
            return original(self, path)

        monkeypatch.setattr(type(model), "on", spy)
        TrainingStep(model, recipe(objective=name))(batch, 0, 0)
        monkeypatch.undo()
        assert len(used) == 2
        assert (used[0] == used[1]) is expected


def test_eps_grows_to_its_full_value() -> None:
    training_step = TrainingStep(build_model("resnet18", "bn", width=2), recipe(eps_warmup=3, eps=0.4))
    assert [training_step.attack(epoch)[1].eps for epoch in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert training_step.attack()[1].eps == 0.4


def test_the_digest_ignores_where_files_lie_and_nothing_else() -> None:
    base = recipe()
    places = [recipe(dataset="folder", data_dir=place, dataset_name="mine") for place in ("here", "there")]
    assert places[0].digest() == places[1].digest()
    assert recipe(step_size=2 / 255).digest() == base.digest()  # the same value, said or not
    digests = {base.digest()} | {recipe(**{name: value}).digest() for name, value in {
        "space": "bn+ln", "seed": 1, "lr": 0.2, "steps": 3, "dataset_name": "x", "augment": False, "eps": 0.2,
        "layer_based": True, "precision": "bf16", "n_train": 64}.items()}
    assert len(digests) == 11


def test_bf16_trains() -> None:
    batch = Batch(torch.rand(8, 3, 32, 32), torch.arange(8), list(range(8)))
    model = build_model("resnet18", "bn+in", width=2)
    model.precision = "bf16"
    for granularity in ("batch", "sample"):
        loss, _ = TrainingStep(model, recipe(granularity=granularity))(batch, 0, 0)
        loss.backward()
        assert loss.dtype == torch.float32
        assert bool(torch.isfinite(loss))
        assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_no_host_synchronisation_inside_a_step_on_cuda(granularity: str) -> None:
    device = torch.device("cuda")
    model = build_model("resnet18", "bn+in", width=4).to(device=device, memory_format=torch.channels_last)
    training_step = TrainingStep(model, recipe(granularity=granularity))
    images = torch.rand(8, 32, 32, 3, device=device).permute(0, 3, 1, 2)
    batch = Batch(images, torch.arange(8, device=device), list(range(8)))
    training_step(batch, 0, 0)[0].backward()
    try:
        torch.cuda.set_sync_debug_mode("error")
        training_step(batch, 0, 1)[0].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_all_errors_of_options_come_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        recipe(eps=3, arch="resnet", epochs=0, precision="fp16")
    assert len(str(caught.value).splitlines()) == 4
