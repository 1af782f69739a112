"""Several networks attacked as one: an ensemble whose logits are fused (eq. 3.8 of the thesis)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.defence.defence import Defence, Draws, batch_dependent
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams


@dataclass(frozen=True)
class _Together:
    """Draws of several networks at once: their choices side by side."""

    spaces: tuple[Draws, ...]

    @property
    def is_random(self) -> bool:
        return bool(self.spaces)

    @property
    def takes_rows(self) -> bool:
        return all(space.takes_rows for space in self.spaces)

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return _joined([space.sample(generator, rows) for space in self.spaces], rows)

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        """One after the other: the first has the draws that it would have alone, the next one others."""
        return _joined([space.sample_each(streams, repeats) for space in self.spaces], repeats * len(streams))


def _joined(paths: Sequence[Path], rows: int) -> Path:
    if not paths:
        return Path(((),) * rows)
    return Path(torch.cat([path.choices for path in paths], 1))


class FusedLogits:
    """A defence whose logits are the sum of `weights` times its members'.

    Members that draw do so each for itself, and a path of the ensemble holds the choices of all of these. Raises
    nothing: that all members know the same classes and take the same images is the caller's to see to.
    """

    def __init__(self, members: Sequence[Defence], weights: Sequence[float]) -> None:
        self.members, self.weights = tuple(members), tuple(weights)
        self.space: Draws = _Together(tuple(member.space for member in members if member.space.is_random))
        self.batch_dependent = any(map(batch_dependent, members))
        self._own = [member.space.sample(torch.Generator()) for member in members]  # of one that draws: its width

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        views, done = [], 0
        for member, own in zip(self.members, self._own, strict=True):
            if member.space.is_random:
                own, done = Path(path.choices[:, done : done + len(own)]), done + len(own)
            views.append(member.on(own))

        def fused(images: Tensor) -> Tensor:
            logits = [weight * view(images).float() for weight, view in zip(self.weights, views, strict=True)]
            return torch.stack(logits).sum(0)

        return fused
