"""Another way of computing is refused where it leaves something out, takes something stale or breaks, not where it
rounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from rnabench.errors import NumericalError
from rnabench.runtime.agreement import check_agreement, refusing


def gradients() -> list[Tensor]:
    """Of many tensors, a number of hits, one that no path uses, and one that is nothing but rounding."""
    generator = torch.Generator().manual_seed(0)
    return [*(torch.randn(7, 3, generator=generator) for _ in range(20)), torch.tensor(1.0), torch.zeros(4),
            1e-9 * torch.ones(5)]


def test_rounding_agrees() -> None:
    right = gradients()
    found = [each * (1 + 1e-4 * torch.randn_like(each)) for each in right]
    found[-1], found[-3] = torch.zeros(5), torch.tensor(0.0)
    check_agreement("--fast", right, found, 0.01)


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda found: found[3].zero_(), "1 of 23 tensors are zeros"),
    (lambda found: found[3].fill_(float("nan")), "not finite"),
    (lambda found: [each.add_(0.1 * torch.randn_like(each)) for each in found], "off by 10%"),
])
def test_what_is_wrong_is_refused(spoil: object, said: str) -> None:
    found = gradients()
    torch.manual_seed(0)
    spoil(found)  # type: ignore[operator]
    with pytest.raises(NumericalError, match=f"--fast: torch .* \\(.*{said}.*\\); do without --fast"):
        check_agreement("--fast", gradients(), found, 0.01)


def test_what_is_not_finite_by_itself_is_left_to_its_user() -> None:
    right = [torch.tensor([float("inf")]), torch.ones(3)]
    check_agreement("--fast", right, [torch.zeros(1), torch.zeros(3)], 0.01)


def test_what_ends_in_another_error_is_judged_by_the_first() -> None:
    """To end a recording that has failed fails too; an error of before is none of it."""

    @contextmanager
    def closing() -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("previous error")

    with pytest.raises(NumericalError, match=r"cannot do it \(what went wrong\)"), refusing("--x", "do it"), closing():
        raise RuntimeError("what went wrong")
    with pytest.raises(torch.OutOfMemoryError), refusing("--x", "do it"), closing():
        raise torch.OutOfMemoryError("out of memory")
    try:
        raise torch.OutOfMemoryError("out of memory")
    except RuntimeError:
        with pytest.raises(NumericalError, match="another"), refusing("--x", "do it"):
            raise RuntimeError("another") from None  # which leaves its context where it was
