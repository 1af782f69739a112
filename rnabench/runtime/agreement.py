"""Whether a faster way of computing something computes the same: compilers and recordings have been wrong in silence,
where pieces that were made for one use (parameters without gradients, one path) served another."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from rnabench.errors import NumericalError
from rnabench.runtime.device import memory_ran_out

LEAST = 1e-4  # of the usual norm: a tensor of zeros that should have less is rounding, not missing


@contextmanager
def refusing(option: str, what: str) -> Iterator[None]:
    """Raises NumericalError, which says to do without `option`, where torch cannot do `what`: its own RuntimeError
    inside the block, unless memory ran out."""
    before = sys.exc_info()[1]
    try:
        yield
    except RuntimeError as error:
        first: RuntimeError = error
        while isinstance(first.__context__, RuntimeError) and first.__context__ is not before:  # the end failed too
            first = first.__context__
        if memory_ran_out(first):
            raise first from None
        reason = next((line for line in str(first).splitlines() if line.strip()), type(first).__name__)
        raise NumericalError(f"{option}: torch {torch.__version__} cannot {what} ({reason[:200]}); "
                             + do_without(option)) from error


def check_agreement(option: str, right: Sequence[Tensor], found: Sequence[Tensor], rounding: float) -> None:
    """Raises NumericalError, which says to do without `option`, where `found` is not finite, has nothing but zeros in
    the place of a tensor, or is off by more than the share `rounding` in most tensors: single ones may be rounding
    alone, as is the gradient of a bias that a normaliser takes out again.

    Numbers of `right` that are not finite are left to those who use them.
    """
    expected, got = ([each.detach().double() for each in tensors] for tensors in (right, found))
    norms, got_norms = (torch.stack([each.norm() for each in tensors]) for tensors in (expected, got))
    distances = torch.stack([(one - other).norm() for one, other in zip(got, expected, strict=True)])
    used = (norms > 0) | (got_norms != 0)  # of options that no path used, both are zero
    if not norms.isfinite().all() or not used.any():
        return
    off = (distances / norms)[used].nan_to_num(nan=float("inf")).median()
    several = torch.tensor([each.numel() > 1 for each in got], device=norms.device)  # one number, a count say, may be 0
    missing = int((several & (got_norms == 0) & (norms > LEAST * norms[used].median())).sum())
    wrong = ("numbers are not finite" if not got_norms.isfinite().all() else
             f"{missing} of {len(got)} tensors are zeros" if missing else
             f"numbers are off by {float(off):.0%}" if off > rounding else "")
    if wrong:
        raise NumericalError(f"{option}: torch {torch.__version__} computes something else with it here ({wrong}); "
                             + do_without(option))


def do_without(option: str) -> str:
    """What to do, on the command line and in a recipe."""
    return f"do without {option} ({option.removeprefix('--')}: false in a recipe)"
