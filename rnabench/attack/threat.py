"""The threat model: how far from an image an attacker may go."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Linf:
    """All images in [0, 1] whose pixels differ by at most `eps` (in pixel units [0, 1]) from the original's."""

    eps: float

    def project(self, candidate: Tensor, images: Tensor) -> Tensor:
        """The nearest allowed images; [N, C, H, W] each."""
        return candidate.clamp(images - self.eps, images + self.eps).clamp(0, 1)

    def step(self, candidate: Tensor, gradient: Tensor, size: float) -> Tensor:
        """Steepest ascent under this norm."""
        return candidate + size * gradient.sign()

    def start(self, images: Tensor, uniform: Tensor) -> Tensor:
        """A random start from `uniform` [N, C, H, W] on [0, 1)."""
        return self.project(images + (2 * uniform - 1) * self.eps, images)
