"""The switches for what the paper's released code does around a training step, each against its formula in float64."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rnabench.cli.main import main
from rnabench.data.batches import Batch, ResidentSource, batches
from rnabench.errors import InvalidSettings
from rnabench.exchange.released import load_released, released_state
from rnabench.jobs.target import load_run
from rnabench.jobs.train import train
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.factory import build_model
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import BatchGroupNorm, use_bgn_conventions
from rnabench.path.choice import choice_layers, use_path
from rnabench.path.path import Path as NormPath
from rnabench.report.page.settings import network
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.seeding import ExampleStreams
from rnabench.settings.base import from_options
from rnabench.settings.datasets import published_statistics
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.training import TrainingSettings
from rnabench.training.loop import learning_rate
from rnabench.training.step import TrainingStep
from rnabench.training.update import Update
from tests.exchange.released_networks import on_path, released, wrapped
from tests.helpers import AfterSteps, random_images

SMALL = {"space": "bn+in", "width": 2, "steps": 1, "epochs": 2, "batch_size": 32, "n_train": 80, "n_holdout": 32}
SWITCHES = {"track_attack_stats": True, "unused_options": "decay", "milestones": (1,), "drop_last": False,
            "n_holdout": 0, "select": "last", "input_statistics": "cifar10", "bgn_momentum": 0.9,
            "bgn_variance": "unbiased"}


def recipe(**changes: object) -> TrainingSettings:
    return from_options(TrainingSettings, {**SMALL, **changes})


def network_and_batch(space: str) -> tuple[RandomizedClassifier, Batch]:
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return build_model("resnet18", space, width=2).double(), Batch(images, torch.arange(6), list(range(6)))


@pytest.mark.parametrize("tracked", [True, False])
def test_inner_attacks_move_the_running_statistics(tracked: bool) -> None:
    """PGD-10 and the step: 11 updates by the moving average of what the layer saw, or only that of the step."""
    model, batch = network_and_batch("bn")
    layer = next(module for module in model.modules() if isinstance(module, BatchGroupNorm))
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    TrainingStep(model, recipe(space="bn", steps=10, track_attack_stats=tracked))(batch, 0, 0)
    assert len(seen) == 11
    mean, var = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for x in seen if tracked else seen[-1:]:
        mean, var = 0.9 * mean + 0.1 * x.mean((0, 2, 3)), 0.9 * var + 0.1 * x.var((0, 2, 3))
    torch.testing.assert_close(layer.running_mean, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.running_var, var, rtol=1e-12, atol=1e-12)
    assert int(layer.num_batches_tracked) == (11 if tracked else 1)


@pytest.mark.parametrize("unused", ["still", "decay"])
def test_unused_options_stand_still_or_go_on_by_momentum_and_weight_decay(unused: str) -> None:
    """SGD by hand: v = 0.9 v + g + wd w and w -= lr v, where g = 0 for an option that the batch's path leaves out."""
    model, batch = network_and_batch("bn+in")
    lr, wd = 0.1, 5e-4
    update = Update(TrainingStep(model, recipe(unused_options=unused)))
    options = {(layer, number): list(option.parameters()) for layer, choices in choice_layers(model).items()
               for number, option in enumerate(choices.options)}
    weights = {place: [p.detach().clone() for p in own] for place, own in options.items()}
    speeds = {place: [torch.zeros_like(p) for p in own] for place, own in options.items()}
    moved_unused = 0
    for step in range(4):
        update(batch, 0, step, lr)
        path = dict(zip(choice_layers(model), update.step.draw(batch, 0, step).trained.rows[0], strict=True))
        for (layer, number), own in options.items():
            used = path[layer] == number
            for place, parameter in enumerate(own):
                if not used and unused == "still":
                    continue
                gradient = parameter.grad.clone() if used and parameter.grad is not None else 0
                weight, speed = weights[layer, number][place], speeds[layer, number][place]
                speed.mul_(0.9).add_(gradient + wd * weight)
                weight.sub_(lr * speed)
                moved_unused += not used
        for key, own in options.items():
            torch.testing.assert_close([p.detach() for p in own], weights[key], rtol=1e-12, atol=1e-14)
    assert (moved_unused > 0) == (unused == "decay")


def test_milestones_are_those_of_a_scheduler_that_steps_before_the_epoch() -> None:
    """torch's MultiStepLR at 100 and 150 of 200, stepped at the start of each epoch: drops after 99 and 149."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[100, 150], gamma=0.1)
    optimizer.step()
    theirs = []
    for _ in range(200):
        scheduler.step()
        theirs.append(scheduler.get_last_lr()[0])
    ours = [learning_rate("step", 0.1, epoch / 200, epoch, (99, 149)) for epoch in range(200)]
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert ours[98] == 0.1
    assert ours[99] == pytest.approx(0.01)


@pytest.mark.parametrize("milestones", ["99,149", (99, 149), [99, 149]])
def test_milestones_are_checked(milestones: object) -> None:
    assert recipe(epochs=200, milestones=milestones).milestones == (99, 149)
    for wrong in ("149,99", "0,4", "200", "4,4", "x", "", [1.5], [True], 7):
        with pytest.raises(InvalidSettings, match=r"^--milestones: "):
            recipe(epochs=200, milestones=wrong)
    with pytest.raises(InvalidSettings, match=r"^--milestones: .*schedule 'step'"):
        recipe(epochs=200, milestones=milestones, schedule="cosine")


def test_the_last_incomplete_batch() -> None:
    """391 steps of 128 on 50,000 images; every image once; the complete batches are the same either way."""
    assert (batches(50_000, 128, drop_last=False), batches(50_000, 128, drop_last=True)) == (391, 390)
    assert batches(256, 128, drop_last=False) == batches(256, 128, drop_last=True) == 2
    source = ResidentSource(random_images(14), torch.device("cpu"))
    whole = [batch.indices for batch in source.shuffled(4, seed=1, epoch=2, drop_last=False)]
    assert sorted(index for indices in whole for index in indices) == source.indices
    assert whole[:3] == [batch.indices for batch in source.shuffled(4, seed=1, epoch=2)]
    assert len(whole[3]) == 2
    assert whole[2:] == [batch.indices for batch in source.shuffled(4, seed=1, epoch=2, start=2, drop_last=False)]


@pytest.mark.parametrize("per_sample", [False, True])
def test_bgn_as_the_released_code_has_it(per_sample: bool) -> None:
    """Divided by the unbiased variance; running = 0.1 old + 0.9 new, the new variance times N / (N - 1) once more."""
    norm = NormChoice({"bgn2": BatchGroupNorm(6, 2), "bn": BatchGroupNorm(6, 6)}).double()
    use_bgn_conventions(norm, momentum=0.9, unbiased=True)
    plain = nn.BatchNorm2d(6).double()
    mean, var = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    for step in range(3):
        x = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64) * 2 + 1
        grouped = x.view(4, 2, 3, 5, 5)
        new_mean, new_var = grouped.mean((0, 2, 3, 4)), grouped.var((0, 2, 3, 4))
        mean, var = 0.1 * mean + 0.9 * new_mean, 0.1 * var + 0.9 * (4 / 3 * new_var)
        expected = (grouped - new_mean.view(1, 2, 1, 1, 1)) / (new_var.view(1, 2, 1, 1, 1) + 1e-5).sqrt()
        for number, right in enumerate((expected.view_as(x), plain(x))):
            with use_path(norm, NormPath.of(number) if not per_sample else NormPath(((number,),) * 4)):
                torch.testing.assert_close(norm(x), right, rtol=1e-10, atol=1e-10)
    grouped_norm, batch_norm = norm.options
    torch.testing.assert_close(grouped_norm.running_mean, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grouped_norm.running_var, var, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(batch_norm.running_var, plain.running_var)  # one channel per group: torch's BatchNorm2d


def test_three_steps_are_the_released_ones() -> None:
    """Its adversarial training written with torch's own modules: attack gradients pile up in the parameters until they
    are zeroed, every forward pass in training mode moves the running statistics, same draws. Weights and statistics."""
    settings = recipe(steps=3, track_attack_stats=True, unused_options="decay", eps=0.1)
    model, batch = network_and_batch("bn+in")
    theirs = released("resnet18", "bn+in", width=2)
    load_released(model, wrapped(theirs), "resnet18", "bn+in", Path("file.pt"))
    theirs = theirs.double().train()
    update, images, labels = Update(TrainingStep(model, settings)), batch.images, batch.labels
    by_hand = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for parameter in theirs.parameters():
        parameter.grad = torch.zeros_like(parameter)  # as if every option had been drawn before

    def loss_of(path: tuple[int, ...], delta: Tensor) -> Tensor:
        return nn.functional.cross_entropy(on_path(theirs, path, images + delta).float(), labels)

    for step in range(3):
        drawn = update.step.draw(batch, 0, step)
        assert drawn.attacked is not None
        attacked, updated = drawn.attacked.rows[0], drawn.trained.rows[0]
        noise = ExampleStreams(settings.seed, "attack start", indices=batch.indices, first=0).uniform(3, 16, 16)
        delta = ((2 * noise - 1) * settings.eps).double().clamp(-images, 1 - images)
        for _ in range(settings.steps):
            delta.requires_grad_()
            loss_of(attacked, delta).backward()
            moved = delta.detach() + settings.step * delta.grad.sign()
            delta = moved.clamp(-settings.eps, settings.eps).clamp(-images, 1 - images)
        by_hand.zero_grad(set_to_none=False)
        loss_of(updated, delta).backward()
        by_hand.step()
        update(batch, 0, step, 0.1)
    after = released_state(model, "resnet18")
    for name, tensor in wrapped(theirs).items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-6, atol=1e-7, msg=name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released") / "run"
    train(recipe(**SWITCHES, space="bgn2+in-plain"), folder, Silent(), StopRequest(), "cpu")
    return folder


def test_training_with_every_switch(trained: Path) -> None:
    with (trained / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in log] == [0.1, 0.01]
    assert not any("holdout" in name for name in log[0])
    for row in log:  # 80 images in batches of 32, 32 and 16
        hits = float(row["train_accuracy"]) * 80
        assert hits == pytest.approx(round(hits), abs=1e-3)
    described = json.loads((trained / "run.json").read_text())
    assert described["data"]["holdout_examples"] == 0
    assert (described["selected"]["by"], described["selected"]["epoch"]) == ("last", 2)
    assert [described["model"]["mean"], described["model"]["std"]] == [list(v) for v in published_statistics("cifar10")]
    assert "options.1.weight" not in " ".join(build_model("resnet18", "bgn2+in-plain", width=2).state_dict())


def test_the_logged_loss_is_the_mean_over_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[tuple[float, int]] = []
    called = Update.__call__

    def kept(self: Update, batch: Batch, epoch: int, step: int, rate: float) -> tuple[Tensor, Tensor]:
        loss, hits = called(self, batch, epoch, step, rate)
        losses.append((loss.item(), len(batch.indices)))
        return loss, hits

    monkeypatch.setattr(Update, "__call__", kept)
    train(recipe(drop_last=False, epochs=1, n_holdout=0, select="last"), tmp_path, Silent(), StopRequest(), "cpu")
    assert [count for _, count in losses] == [32, 32, 16]
    with (tmp_path / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["loss"]) == pytest.approx(sum(loss * count for loss, count in losses) / 80, abs=1e-6)


def test_stopped_with_every_switch_it_ends_with_the_same_weights(trained: Path, tmp_path: Path) -> None:
    stops = 0
    while True:
        try:
            train(recipe(**SWITCHES, space="bgn2+in-plain"), tmp_path, Silent(), AfterSteps(1), "cpu")
            break
        except Stopped:
            stops += 1
    assert stops >= 3
    assert (tmp_path / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_nothing_held_out_needs_the_last_epoch() -> None:
    with pytest.raises(InvalidSettings,
                       match=r"^--select: 'best' is not valid; expected 'last': no images are held out"):
        recipe(n_holdout=0)


def test_every_switch_is_named_wherever_settings_are(trained: Path, capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """In the help, in run.json, in a record and on its page, and in the docs; left alone, none is in the digest."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    described = json.loads((trained / "run.json").read_text())["recipe"]
    target = load_run(trained, {}, EvaluationSettings(n_examples=2), "cpu")
    groups = {group.title: dict(group.settings) for group in network(target.description)}
    base, page = recipe(), (Path(__file__).parents[2] / "docs" / "pages" / "papers" / "released-code.md").read_text()
    for name, value in SWITCHES.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert f"`{name}" in page
        assert described[name] == (list(value) if isinstance(value, tuple) else value)
        assert name.replace("_", " ") in groups["Training recipe"]
        if name not in SMALL:
            assert name not in base.identity()
    assert "in-plain" in shown
    assert groups["Training recipe"]["unused options"] == "decay"
    assert "data dir" not in groups["Training recipe"]
    digests = {recipe(**{name: value, "select": "last"}).digest() for name, value in SWITCHES.items()}
    assert len(digests) == len(SWITCHES)
