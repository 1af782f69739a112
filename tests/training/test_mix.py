"""Clean and adversarial images in one step: mix, logit pairing, mixture BN, AdvProp."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue
from rnabench.jobs.durations import training_flops
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.mixture import mixtures, use_branch
from rnabench.path.path import Path
from rnabench.runtime.rate import work_of
from rnabench.settings.base import from_options
from rnabench.settings.training import TrainingSettings
from rnabench.training.objective import Objective, check_network
from rnabench.training.step import TrainingStep
from tests.helpers import lively_model
from tests.training.test_update import RATE, after, batch, network, update_of


def settings_of(objective: str, space: str, **settings: object) -> TrainingSettings:
    return from_options(TrainingSettings, {"objective": objective, "space": space, "width": 2, **settings})


def objective_of(objective: str, model: RandomizedClassifier, **settings: object) -> Objective:
    return TrainingStep(model, settings_of(objective, "bn", **settings)).objective


def pairs(count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Images, others in the place of adversarial ones, and labels."""
    generator = torch.Generator().manual_seed(1)
    images, adversarial = torch.rand(2, count, 3, 8, 8, generator=generator, dtype=torch.float64)
    return images, 0.5 * adversarial, torch.randint(10, (count,), generator=generator)


def branch_of(model: nn.Module, branch: str) -> dict[str, Tensor]:
    """The state of the plain network that a network with mixtures is on that branch."""
    other = {"clean": "adv", "adv": "clean"}[branch]
    return {name.replace(f"norms.{branch}.", ""): value for name, value in model.state_dict().items()
            if f".{other}." not in name}


def gradients(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True))


@given(st.floats(0, 1), st.sampled_from([0.25, 0.5, 1.0]))
def test_it_is_its_formula_in_one_batch(weight: float, share: float) -> None:
    """Eq. 6.1, over the clean images that are kept; batch statistics are those of all images together."""
    images, adversarial, labels = pairs()
    model = lively_model("bn").double().train()
    objective = objective_of("mix", model, clean_weight=weight, clean_share=share)
    kept = int(8 * share) if weight else 0
    loss, logits = objective.loss(copy.deepcopy(model), images, adversarial, labels)
    together = model(torch.cat([adversarial, images[:kept]]))
    clean = F.cross_entropy(together[8:], labels[:kept]) if kept else torch.zeros(())
    torch.testing.assert_close(loss, weight * clean + (1 - weight) * F.cross_entropy(together[:8], labels))
    torch.testing.assert_close(logits, together[:8])


@pytest.mark.parametrize("none", [{"clean_weight": 0.0}, {"clean_share": 0.0}])
@pytest.mark.parametrize(("space", "objective"), [("bn", "white-box"), ("bn+in", "black-box")])
def test_without_clean_images_it_is_adversarial_training_to_the_bit(space: str, objective: str, none: dict[str, object]
                                                                    ) -> None:
    """White-box on a network of one path, in a space of paths Algorithm 1."""
    plain, mixed = (after(update_of("plain", space, "cpu", keys), "cpu")
                    for keys in ({"objective": objective}, {"objective": "mix", **none}))
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0)


def test_mixture_bn_is_two_networks_that_share_the_filters() -> None:
    images, adversarial, labels = pairs()
    model = lively_model("mbn").double().train()
    alone = {branch: lively_model("bn").double().train() for branch in ("clean", "adv")}
    for branch, plain in alone.items():
        plain.load_state_dict(branch_of(model, branch))
    loss, _ = objective_of("mbn", model, clean_weight=0.3).loss(model, images, adversarial, labels)
    losses = {"clean": 0.3 * F.cross_entropy(alone["clean"](images), labels),
              "adv": 0.7 * F.cross_entropy(alone["adv"](adversarial), labels)}
    torch.testing.assert_close(loss, losses["clean"] + losses["adv"])
    slopes = {name: gradient for (name, _), gradient in zip(model.named_parameters(), gradients(loss, model),
                                                            strict=True)}
    for branch, plain in alone.items():
        for (name, _), gradient in zip(plain.named_parameters(), gradients(losses[branch], plain), strict=True):
            place, _, last = name.rpartition(".")
            own = f"{place}.norms.{branch}.{last}"
            slopes[own if own in slopes else name] -= gradient  # filters are in both networks
        torch.testing.assert_close(branch_of(model, branch), dict(plain.state_dict()))  # running statistics too
    assert all(float(slope.abs().max()) < 1e-12 for slope in slopes.values())


def test_together_and_apart_batch_statistics_differ() -> None:
    """At first both branches are alike, so that only the batches make the difference."""
    images, adversarial, labels = pairs()
    joint, split = (objective_of("mix", model).loss(model, images, adversarial, labels)[0]
                    for model in (lively_model("bn").double().train(), lively_model("mbn").double().train()))
    assert abs(float(joint.detach()) - float(split.detach())) > 1e-3
    for mixture in mixtures(model := lively_model("mbn")):
        for branch in mixture.norms.values():
            branch.load_state_dict(mixture.norms["clean"].state_dict())
    with use_branch(model, "adv"):
        by_the_other = model(images.float())
    assert torch.equal(by_the_other, model(images.float()))


def test_logit_pairing_is_its_formula() -> None:
    images, adversarial, labels = pairs()
    for space in ("bn", "mbn"):
        model = lively_model(space).double().train()
        losses = {name: float(objective_of(name, model, **keys).loss(model, images, adversarial, labels)[0].detach())
                  for name, keys in (("mix", {"clean_share": 0.5}), ("alp", {"clean_share": 0.5, "pairing": 0.0}))}
        assert losses["mix"] == losses["alp"]
        objective = objective_of("alp", model, clean_share=0.5, pairing=3.0)
        attacked, clean = objective.both(model, images, adversarial)  # type: ignore[attr-defined]
        expected = losses["mix"] + 3 * float((clean - attacked[:4]).detach().square().sum()) / 40
        assert float(objective.loss(model, images, adversarial, labels)[0].detach()) == pytest.approx(expected)


def test_pairing_alone_needs_clean_images() -> None:
    images, adversarial, labels = pairs()
    model = lively_model("ln").double()
    loss, logits = objective_of("alp", model, clean_weight=0.0, pairing=2.0).loss(model, images, adversarial, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels) + 2 * F.mse_loss(model(images), logits))


@pytest.mark.parametrize(("space", "other"), [("bn", "mix"), ("mbn", "mbn")])
def test_advprop_is_twice_the_mean(space: str, other: str) -> None:
    """Of `mix` on a network without an auxiliary branch, and of `mbn` on one with it: loss and gradients."""
    images, adversarial, labels = pairs()
    found = []
    for name, factor in (("advprop", 1), (other, 2)):
        model = lively_model(space).double().train()
        loss, _ = objective_of(name, model).loss(model, images, adversarial, labels)
        found.append((factor * loss, [factor * each for each in gradients(loss, model)]))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("objective", ["mbn", "advprop", "alp"])
@pytest.mark.parametrize("attack_mode", ["train", "eval"])
def test_the_attack_goes_through_the_auxiliary_branch_and_moves_nothing(objective: str, attack_mode: str) -> None:
    """By its running statistics in evaluation mode: another attack than through the clean branch."""
    images, _, labels = pairs()
    model = lively_model("mbn").double().train()
    for mixture in mixtures(model):
        mixture.norms["adv"].running_mean.add_(0.5)  # type: ignore[operator, union-attr]
        mixture.norms["adv"].weight.data.mul_(-1)  # type: ignore[operator, union-attr]
    step = TrainingStep(model, settings_of(objective, "mbn", steps=2, attack_mode=attack_mode))
    used: set[str] = set()
    mixtures(model)[0].register_forward_hook(lambda module, *_: used.add(module.branch))  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = step.start("attack", Batch(images, labels, list(range(8))), 0).double()

    def attacked() -> Tensor:
        return step.adversarial(*step.attack(), images, labels, Path(((),)), lambda *shape: start)

    with step.objective.during_attack():
        adversarial = attacked()
    assert used == {"adv"}
    assert not torch.equal(adversarial, attacked())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_without_its_auxiliary_branch_it_is_a_plain_network() -> None:
    update = update_of("plain", "mbn", "cpu", {"objective": "advprop"})
    after(update, "cpu")
    plain = network("bn", "cpu", {})
    plain.load_state_dict(branch_of(update.model, "clean"))
    images = batch(7, "cpu").images
    torch.testing.assert_close(plain.eval()(images), update.model.eval()(images), rtol=0, atol=0)
    with use_branch(update.model, "adv"):
        assert not torch.allclose(update.model(images), plain(images))


@pytest.mark.parametrize("objective", ["mix", "alp", "advprop"])
@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_a_clean_image_goes_the_way_of_its_adversarial_one(objective: str, granularity: str) -> None:
    """Norms of single images: what goes through together is what goes through alone, on the same path."""
    model = lively_model("gn2+ln", layers=3)
    model.granularity = granularity  # type: ignore[assignment]
    share = {} if objective == "advprop" else {"clean_share": 0.5}
    step = TrainingStep(model, settings_of(objective, "gn2+ln", granularity=granularity, **share))
    images, adversarial, labels = (each.float() if each.is_floating_point() else each for each in pairs())
    drawn = step.draw(Batch(images, labels, list(range(8))), 0, 0)
    assert drawn.attacked is not None
    assert any(drawn.trained.difference(drawn.attacked))  # Algorithm 1
    attacked, clean = step.objective.both(step._on(drawn.trained), images, adversarial)  # type: ignore[attr-defined]
    view = model.on(drawn.trained)
    torch.testing.assert_close(attacked, view(adversarial))
    torch.testing.assert_close(clean, view(images)[: len(clean)])
    assert len(clean) == (8 if objective == "advprop" else 4)


CASES: list[tuple[str, dict[str, object]]] = [
    ("bn", {"objective": "mix", "clean_share": 0.5, "target": "random"}), ("mbn", {"objective": "mbn"}),
    ("bn+in", {"objective": "alp", "granularity": "sample", "clean_start": 0.3}),
    ("mbn+in", {"objective": "advprop", "label_smoothing": 0.1, "target": "random"}), ("bn+bn-aux", {}),
]


@pytest.mark.parametrize(("space", "settings"), CASES)
def test_recorded_and_replayed_it_changes_the_network_as_when_run(space: str, settings: dict[str, object]) -> None:
    plain, replayed = (after(update_of(kind, space, "cpu", settings), "cpu") for kind in ("plain", "captured"))
    # the logits are float32: where the last bit falls otherwise, so does everything after it
    torch.testing.assert_close(replayed, plain, rtol=1e-5, atol=1e-7)


def test_the_arithmetic_of_a_step_is_counted() -> None:
    for settings in ({"objective": "mix", "clean_share": 0.5}, {"objective": "advprop"},
                     {"objective": "mix", "clean_weight": 0.0}):
        update = update_of("plain", "bn+in", "cpu", settings)
        counted = work_of(lambda update=update: update(batch(0, "cpu"), 0, 0, RATE)).flops  # type: ignore[misc]
        assert 0.95 <= counted / (8 * training_flops(update.model, 16, update.step.recipe)) <= 1


def test_what_it_cannot_train() -> None:
    for space in ("bn", "bn+in"):
        with pytest.raises(InvalidValue, match=r"--objective: 'mbn' is not valid; expected a network with mixture BNs"):
            check_network(settings_of("mbn", space), lively_model(space))
    for objective, space in (("mbn", "mbn+in"), ("advprop", "bn"), ("mix", "gn2")):
        check_network(settings_of(objective, space), lively_model(space))
