"""Losses: what their signs, invariances and formulas promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnabench.attack.losses import LOSSES, dlr, margin, targeted_dlr
from rnabench.errors import InvalidValue


def logits_and_labels(seed: int, count: int = 7, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(count, classes, generator=generator, dtype=torch.float64),
            torch.randint(0, classes, (count,), generator=generator))


@given(st.integers(0, 999), st.integers(2, 6))
def test_the_margin_is_positive_exactly_where_misclassified(seed: int, classes: int) -> None:
    logits, labels = logits_and_labels(seed, classes=classes)
    assert torch.equal(margin(logits, labels) > 0, logits.argmax(1) != labels)


@given(st.integers(0, 999))
def test_dlr_has_the_margins_sign_and_is_at_most_one(seed: int) -> None:
    logits, labels = logits_and_labels(seed)
    found = dlr(logits, labels)
    assert torch.equal(found.sign(), margin(logits, labels).sign())
    # where right, the second logit lies between the first and the third
    assert bool((found[logits.argmax(1) == labels] >= -1 - 1e-9).all())


@given(st.integers(0, 999), st.floats(-50, 50), st.floats(0.01, 100))
def test_dlr_does_not_change_when_logits_are_shifted_or_rescaled(seed: int, shift: float, scale: float) -> None:
    logits, labels = logits_and_labels(seed)
    targets = (labels + 1) % 6
    torch.testing.assert_close(dlr(scale * logits + shift, labels), dlr(logits, labels), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(targeted_dlr(scale * logits + shift, labels, targets),
                               targeted_dlr(logits, labels, targets), rtol=1e-6, atol=1e-6)


@given(st.integers(0, 999), st.integers(1, 5))
def test_losses_are_their_formulas(seed: int, further: int) -> None:
    logits, labels = logits_and_labels(seed)
    targets = (labels + further) % 6
    found = {name: loss(logits, labels).numpy() for name, loss in LOSSES.items()}
    towards = targeted_dlr(logits, labels, targets).numpy()
    for n, (z, y, t) in enumerate(zip(logits.numpy(), labels.numpy(), targets.numpy(), strict=True)):
        order = np.sort(z)[::-1]
        hardest = max(value for k, value in enumerate(z) if k != y)
        assert found["ce"][n] == pytest.approx(np.log(np.exp(z - z[y]).sum()))
        assert found["margin"][n] == pytest.approx(hardest - z[y])
        assert found["dlr"][n] == pytest.approx(-(z[y] - hardest) / (order[0] - order[2]))
        assert towards[n] == pytest.approx(-(z[y] - z[t]) / (order[0] - (order[2] + order[3]) / 2))


@pytest.mark.parametrize(("classes", "works"), [(2, False), (3, True)])
def test_dlr_needs_three_classes(classes: int, works: bool) -> None:
    logits, labels = logits_and_labels(0, classes=classes)
    if works:
        assert bool(dlr(logits, labels).isfinite().all())
    else:
        with pytest.raises(InvalidValue, match="3 classes"):
            dlr(logits, labels)


@pytest.mark.parametrize(("classes", "works"), [(2, False), (3, False), (4, True)])
def test_targeted_dlr_needs_four_classes(classes: int, works: bool) -> None:
    logits, labels = logits_and_labels(0, classes=classes)
    if works:
        assert bool(targeted_dlr(logits, labels, (labels + 1) % classes).isfinite().all())
    else:
        with pytest.raises(InvalidValue, match="4 classes"):
            targeted_dlr(logits, labels, (labels + 1) % classes)


@pytest.mark.parametrize("name", [*LOSSES, "targeted"])
def test_a_leading_dimension_of_draws_is_a_stack(name: str) -> None:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return targeted_dlr(logits, labels, (labels + 2) % 6) if name == "targeted" else LOSSES[name](logits, labels)

    draws = torch.stack([logits_and_labels(seed)[0] for seed in range(4)])
    labels = logits_and_labels(9)[1]
    found = loss(draws, labels)
    assert found.shape == (4, 7)
    torch.testing.assert_close(found, torch.stack([loss(draw, labels) for draw in draws]))


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_sum_over_draws_reaches_each_draw_by_itself(name: str) -> None:
    draws = torch.stack([logits_and_labels(seed)[0] for seed in range(3)]).requires_grad_()
    labels = logits_and_labels(9)[1]
    (together,) = torch.autograd.grad(LOSSES[name](draws, labels).sum(), draws)
    for k in range(3):
        alone = draws[k].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(LOSSES[name](alone, labels).sum(), alone)
        torch.testing.assert_close(together[k], gradient)
