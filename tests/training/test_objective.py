"""An objective is one class: which paths are attacked and trained, by what loss, with what set on the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.data.batches import Batch
from rnabench.errors import InvalidSettings
from rnabench.model.factory import build_model
from rnabench.norm.mixture import MixtureBatchNorm, use_branch
from rnabench.settings.base import from_options
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.objective import Network, Objective
from rnabench.training.step import Drawn, TrainingStep


class ThreePaths(Objective):
    """Attacks one path and trains it with two others."""

    trains_attacked_path = True
    paths = 3


class TwoBranches(Objective):
    """Clean and adversarial images by a BN each; attacked through the latter's."""

    def during_attack(self) -> AbstractContextManager[None]:
        return use_branch(self.model, "adv")

    def loss(self, network: Network, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(images)
        with use_branch(self.model, "adv"):
            return F.cross_entropy(logits, labels) + F.cross_entropy(network(adversarial), labels), logits


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    list(OBJECTIVES)
    kept = dict(OBJECTIVES._things), dict(OBJECTIVES._homes)
    OBJECTIVES.add("three-paths", ThreePaths)
    OBJECTIVES.add("two-branches", TwoBranches)
    yield
    OBJECTIVES._things, OBJECTIVES._homes = kept


def step_of(objective: str, space: str, **settings: object) -> tuple[TrainingStep, Batch]:
    torch.manual_seed(0)
    model = build_model("resnet18", space, width=2)
    torch.nn.init.normal_(model.network[1].linear.weight)
    keys = {"objective": objective, "space": space, "width": 2, "steps": 2, **settings}
    recipe = from_options(TrainingSettings, keys)
    return TrainingStep(model, recipe), Batch(torch.rand(6, 3, 16, 16), torch.arange(6), list(range(6)))


@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_all_trained_paths_count_alike(granularity: str) -> None:
    step, batch = step_of("three-paths", "gn2+ln", granularity=granularity, attack_mode="eval")
    drawn = step.draw(batch, 1, 2)
    assert drawn.attacked == drawn.trained
    assert all(min(other.difference(drawn.trained)) > 0 for other in drawn.others)
    assert Drawn.of(*drawn.tensors).all_trained == drawn.all_trained

    def losses(*paths: object) -> list[float]:
        return [float(step.loss(batch.images, batch.labels, Drawn(path, drawn.attacked, drawn.start),  # type: ignore[arg-type]
                                *step.attack())[0].detach()) for path in paths]

    together = float(step.loss(batch.images, batch.labels, drawn, *step.attack())[0].detach())
    assert together == pytest.approx(sum(losses(*drawn.all_trained)) / 3, rel=1e-5)


def test_images_of_each_kind_go_through_a_branch_of_their_own() -> None:
    """The attack through the second branch; its steps move no statistics, and the two passes those of their branch."""
    step, batch = step_of("two-branches", "mbn")
    attacked: list[set[str]] = []
    branches = [module for module in step.model.modules() if isinstance(module, MixtureBatchNorm)]
    branches[0].register_forward_hook(lambda module, *_: attacked.append(module.branch))  # type: ignore[arg-type]
    step(batch, 0, 0)[0].backward()  # type: ignore[no-untyped-call]
    assert attacked == ["adv", "adv", "clean", "adv"]
    for mixture in branches:
        assert [int(norm.num_batches_tracked) for norm in mixture.norms.values()] == [1, 1]
        assert all(norm.weight.grad is not None for norm in mixture.norms.values())


def test_a_setting_of_some_objectives_is_refused_by_others() -> None:
    for name, objective in OBJECTIVES.items():
        for setting, value in (("orthogonality", 5.0), ("teacher", {"space": "bn"})):
            if setting in objective.settings:
                assert from_options(TrainingSettings, {"objective": name, setting: value}).digest()
            else:
                refused = rf"--{setting}: .* expected objective 'sors' with it, not '{name}'"
                with pytest.raises(InvalidSettings, match=refused):
                    from_options(TrainingSettings, {"objective": name, setting: value})
        assert from_options(TrainingSettings, {"objective": name, "orthogonality": 10.0}).orthogonality == 10
