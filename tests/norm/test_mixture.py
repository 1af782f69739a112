"""Mixture BN: a batch normalisation for each kind of image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.exchange.export import frozen
from rnabench.model.normalizers import norm_factory
from rnabench.norm.layers import BatchGroupNorm, frozen_statistics
from rnabench.norm.mixture import MixtureBatchNorm, use_branch
from rnabench.path.choice import use_path
from rnabench.path.path import Path
from rnabench.settings.spaces import parse_space
from tests.helpers import lively_model


def activation(seed: int, offset: float = 0.0) -> Tensor:
    return torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset


def test_each_branch_is_a_bn_that_saw_its_own_images() -> None:
    mixture, clean, adv = MixtureBatchNorm(6, 6).double(), nn.BatchNorm2d(6).double(), nn.BatchNorm2d(6).double()
    for step in range(3):
        torch.testing.assert_close(mixture(activation(step)), clean(activation(step)))
        with use_branch(mixture, "adv"):
            torch.testing.assert_close(mixture(activation(step, 2.0)), adv(activation(step, 2.0)))
    for branch, plain in (("clean", clean), ("adv", adv)):
        plain.eval(), mixture.eval()
        with use_branch(mixture, branch):
            torch.testing.assert_close(mixture(activation(9)), plain(activation(9)))
    torch.testing.assert_close(mixture(activation(9)), clean(activation(9)))  # without a word, clean


def test_statistics_of_both_kinds_together_are_others() -> None:
    together = nn.BatchNorm2d(6).double()(torch.cat([activation(1), activation(2, 2.0)]))
    mixture = MixtureBatchNorm(6, 6).double()
    assert not torch.allclose(mixture(activation(1)), together[:4], atol=0.1)


def test_gradients_reach_the_branch_that_was_used() -> None:
    mixture = MixtureBatchNorm(6, 6).double()
    with use_branch(mixture, "adv"):
        mixture(activation(1)).square().sum().backward()
    assert [name for name, parameter in mixture.named_parameters() if parameter.grad is not None] == [
        "norms.adv.weight", "norms.adv.bias"]


def test_in_a_choice_of_norms_too() -> None:
    """Per-sample choices, the branch said outside: as the branch's own BN among the options."""
    expected = norm_factory(parse_space("bn+in"))(6).double()
    mixed = norm_factory(parse_space("mbn+in"))(6).double()
    path = Path(((0,), (1,), (0,), (1,)))
    with use_branch(mixed, "adv"), use_path(mixed, path), use_path(expected, path):
        torch.testing.assert_close(mixed(activation(1)), expected(activation(1)))
    branches = mixed.options[0].norms  # type: ignore[index,union-attr]
    torch.testing.assert_close(branches["adv"].state_dict(), expected.options[0].state_dict())  # type: ignore[index,union-attr]
    assert branches["clean"].num_batches_tracked == 0


def test_attacks_move_no_statistics_of_a_branch() -> None:
    mixture = MixtureBatchNorm(6, 6).double()
    before = {name: value.clone() for name, value in mixture.state_dict().items()}
    with frozen_statistics(mixture), use_branch(mixture, "adv"):
        mixture(activation(1, 2.0))
    torch.testing.assert_close(mixture.state_dict(), before)


def test_what_is_frozen_is_a_plain_network_of_one_branch() -> None:
    model, images = lively_model("mbn"), torch.rand(3, 3, 8, 8)
    for module in model.modules():
        if isinstance(module, BatchGroupNorm):
            module.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    for branch in ("clean", "adv"):
        with use_branch(model, branch):
            plain = frozen(model, Path(((),)))
            torch.testing.assert_close(plain(images), model(images))
        assert not any(isinstance(module, MixtureBatchNorm) for module in plain.modules())
    kept = {name.replace("norms.clean.", ""): value for name, value in model.network.state_dict().items()
            if ".adv." not in name}
    lively_model("bn").network.load_state_dict(kept)


def test_a_block_ends_whatever_happens() -> None:
    mixture = MixtureBatchNorm(6, 6)
    with pytest.raises(ZeroDivisionError), use_branch(mixture, "adv"):
        raise ZeroDivisionError
    assert mixture.branch == "clean"


def test_errors() -> None:
    with pytest.raises(InvalidValue, match="branch: 'advers' is not valid; expected one of clean, adv; did you mean"), \
            use_branch(MixtureBatchNorm(6, 6), "advers"):
        pass
    with pytest.raises(InvalidValue, match="expected a network with mixtures, such as one of --space mbn"), \
            use_branch(lively_model("bn"), "adv"):
        pass
