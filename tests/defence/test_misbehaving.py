"""Networks that misbehave: they harm nobody else's images or modes, and what is wrong is said in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rnabench.defence.fingerprint import weights_sha256
from rnabench.defence.foreign import ForeignModel
from rnabench.defence.weights import fill
from rnabench.errors import ModelError
from rnabench.path.path import Path
from tests.defence.networks import Called
from tests.helpers import Lambda

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
IMAGES[4:] = 0.9  # only these are brighter than 0.7 on average


def first_ten(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :10] * 2


def adopted(function: Callable[[Tensor], Tensor], seen: int = 4) -> ForeignModel:
    """Looked at with the dark images alone, if nothing else is said."""
    return ForeignModel(Lambda(function), IMAGES[:seen], 10).eval()


def logits_of(model: ForeignModel, images: Tensor) -> Tensor:
    return model.on(model.space.sample(torch.Generator().manual_seed(0)))(images)


def test_a_network_that_changes_its_images_in_place_gets_copies_and_has_gradients() -> None:
    model = adopted(lambda x: first_ten(x.sub_(0.5)))
    before, asked = IMAGES.clone(), IMAGES.clone().requires_grad_()
    logits = logits_of(model, asked)
    assert torch.equal(logits_of(model, IMAGES), logits)
    assert torch.equal(IMAGES, before)
    assert torch.equal(torch.autograd.grad(logits.sum(), asked)[0], 2 * (torch.arange(192) < 10).float().expand(
        6, 192).reshape(6, 3, 8, 8))


def test_a_network_that_turns_gradients_off_does_not_turn_off_those_of_others() -> None:
    def forward(x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        return first_ten(x)

    model = adopted(forward)
    assert torch.is_grad_enabled()
    assert not model.differentiable
    assert torch.equal(torch.autograd.grad(logits_of(model, asked := IMAGES.clone().requires_grad_()).sum(), asked)[0],
                       torch.zeros_like(IMAGES))


class FailsBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        raise ValueError("no way back")


def test_a_backward_that_fails_is_no_gradient() -> None:
    assert not adopted(lambda x: FailsBackwards.apply(first_ten(x))).differentiable  # type: ignore[no-untyped-call]


def brightly(x: Tensor, what: Callable[[], object]) -> Tensor:
    if bool((x.mean((1, 2, 3)) > 0.7).any()):
        what()
    return first_ten(x)


def fail() -> None:
    raise ValueError("an image\nthat is too bright")


@pytest.mark.parametrize(("what", "words"), [
    (fail, r"failed on images of shape \[6, 3, 8, 8\]: ValueError: an image that is too bright; expected logits"),
    (lambda: torch.rand(()), "drew from torch's CPU generator, and for the first images"),
])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_what_happens_for_some_images_only_is_said_in_a_line(
        what: Callable[[], object], words: str, noise: float) -> None:
    """A network that draws anyway may draw more for some images."""
    model = adopted(lambda x: brightly(x, what) + (noise * torch.rand(()) if noise else 0))
    assert logits_of(model, IMAGES[:4]).shape == (4, 10)
    if noise and what is not fail:
        assert logits_of(model, IMAGES).shape == (6, 10)
        return
    with pytest.raises(ModelError, match=words) as error:
        logits_of(model, IMAGES)
    assert "\n" not in str(error.value)


def test_a_generator_that_a_network_needs_and_does_not_use_makes_it_deterministic() -> None:
    class Needs(Called):
        def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:  # type: ignore[override]
            return first_ten(x)

    model = ForeignModel(Needs(), IMAGES, 10).eval()
    assert not model.space.is_random
    assert torch.equal(model.on(Path(((),)))(IMAGES), first_ten(IMAGES))


def test_logits_on_another_device_are_brought_back_or_refused_in_a_line() -> None:
    with pytest.raises(ModelError, match="NotImplementedError: Cannot copy out of meta tensor"):
        adopted(lambda x: first_ten(x).to("meta"))


class MoreThanTensors(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: object) -> None:
        raise AssertionError("a file of tensors has none")


def test_what_a_module_puts_beside_its_tensors_is_neither_hashed_nor_filled_in(tmp_path: FilePath) -> None:
    network, plain = MoreThanTensors(4, 10), nn.Linear(4, 10)
    save_file(plain.state_dict(), file := tmp_path / "weights.safetensors")
    fill(network, file, "--model-weights")
    assert torch.equal(network.weight, plain.weight)
    assert weights_sha256(network) == weights_sha256(plain)
