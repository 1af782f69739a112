"""The threat model: how far from an image an attacker may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from rnabench.errors import InvalidValue, one_of


class Threat(Protocol):
    """All images in [0, 1] within `eps` of the original's; image tensors are [N, C, H, W]."""

    norm: ClassVar[str]

    @property
    def eps(self) -> float: ...

    def project(self, candidate: Tensor, images: Tensor) -> Tensor:
        """An allowed image near the candidate."""

    def step(self, candidate: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        """Steepest ascent of length `size` under this norm; `size` may be a tensor [N, 1, 1, 1]."""

    def start(self, images: Tensor, uniform: Tensor) -> Tensor:
        """A random start from `uniform` noise of the images' shape on [0, 1)."""

    def length(self, change: Tensor) -> Tensor:
        """The norm of each example's change, [N]."""


@dataclass(frozen=True)
class Linf:
    """All images in [0, 1] whose pixels differ by at most `eps` (in pixel units [0, 1]) from the original's."""

    norm: ClassVar[str] = "Linf"
    eps: float

    def project(self, candidate: Tensor, images: Tensor) -> Tensor:
        """The nearest allowed images."""
        return candidate.clamp(images - self.eps, images + self.eps).clamp(0, 1)

    def step(self, candidate: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        return candidate + size * gradient.sign()

    def start(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Uniform in the ball."""
        return self.project(images + (2 * uniform - 1) * self.eps, images)

    def length(self, change: Tensor) -> Tensor:
        return change.abs().amax((1, 2, 3))


@dataclass(frozen=True)
class L2:
    """All images in [0, 1] at Euclidean distance at most `eps` (over all pixels, each in [0, 1]) from the original."""

    norm: ClassVar[str] = "L2"
    eps: float

    def project(self, candidate: Tensor, images: Tensor) -> Tensor:
        """Shrunk into the ball, then clipped to [0, 1], which only brings it nearer."""
        change = candidate - images
        shrink = (self.eps / lengths(change).clamp_min(1e-12)).clamp_max(1)
        return (images + change * shrink).clamp(0, 1)

    def step(self, candidate: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        return candidate + size * gradient / lengths(gradient).clamp_min(1e-12)

    def start(self, images: Tensor, uniform: Tensor) -> Tensor:
        """In a uniformly random direction, at distance eps before clipping."""
        normal = torch.erfinv((2 * uniform - 1).clamp(-1 + 1e-6, 1 - 1e-6))
        return self.project(images + self.eps * normal / lengths(normal).clamp_min(1e-12), images)

    def length(self, change: Tensor) -> Tensor:
        return lengths(change).flatten()


THREATS: dict[str, type[Linf] | type[L2]] = {ball.norm: ball for ball in (Linf, L2)}


def threat_model(norm: str, eps: float) -> Threat:
    """The threat model of that norm. Raises InvalidValue."""
    if norm not in THREATS:
        raise InvalidValue("norm", norm, one_of(THREATS), THREATS)
    return THREATS[norm](eps)


def lengths(change: Tensor) -> Tensor:
    """Euclidean length of each example, [N, 1, 1, 1]."""
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return length
