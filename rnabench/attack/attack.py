"""What every attack is: settings with a method that makes adversarial images, its random numbers handed over."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from rnabench.attack.estimators import Estimate, Estimator
from rnabench.attack.threat import L2, Threat, threat_model
from rnabench.errors import InvalidValue, NumericalError
from rnabench.settings.attacks import AttackSpec, Parameters


class Uniform(Protocol):
    """A source of random numbers, one stream per example."""

    def __call__(self, *shape: int) -> Tensor:
        """The next numbers on [0, 1): [N, *shape], for all N examples of the batch, on the images' device."""


class Attack(Parameters):
    """An attack of our own, or of anybody who writes one:

        @ATTACKS.register("nudge")
        class Nudge(Attack):
            steps: int = 5

            def run(self, estimator, images, labels, uniform, threat): ...

    It never changes the model's mode, buffers or path, nor torch's global random state.
    """

    @abstractmethod
    def run(self, estimator: Estimator, images: Tensor, labels: Tensor, uniform: Uniform, threat: Threat) -> Tensor:
        """Images [N, C, H, W] in [0, 1] and labels int64 [N] to adversarial images in [0, 1] that the threat model
        allows. The estimator says what an attacker learns of the model; `uniform` is the only randomness besides."""


class LibraryAttack(Parameters):
    """An attack that the package `library` runs, which takes a module and knows one path, or draws, for all images."""

    @abstractmethod
    def call(self, view: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int, seed: int,
             samples: int = 0) -> Tensor:
        """The same; `view` maps images to logits. With `samples` > 0 it draws a path in every forward, and the attack
        is to average over so many."""

    def of_library(self, samples: int) -> dict[str, object]:
        """What a record says besides the parameters."""
        return {}


def ready(spec: AttackSpec, norm: str, eps: float, step_size: float) -> tuple[Attack | LibraryAttack, Threat]:
    """An attack and its threat model under an evaluation's norm, `eps` and `step_size`; one that knows no eps may go
    anywhere. Raises InvalidValue."""
    attack, own_eps = spec.settled(eps, step_size)
    if not isinstance(attack, Attack | LibraryAttack):
        raise InvalidValue("attack", spec.name, "a class that derives from rnabench.attack.attack.Attack")
    return attack, threat_model(norm, own_eps) if spec.bounded else L2(math.inf)


def check(name: str, adversarial: Tensor, images: Tensor, threat: Threat) -> None:
    """Raises NumericalError for images that are not in [0, 1], or that the threat model does not allow."""
    if not bool(adversarial.isfinite().all()) or float(adversarial.min()) < 0 or float(adversarial.max()) > 1:
        raise NumericalError(f"attack {name}: its images are not in [0, 1]; nothing was scored")
    far = float(threat.length(adversarial - images).max())
    if far > threat.eps * (1 + 1e-4) + 1e-6:
        raise NumericalError(f"attack {name}: moved an image by {far:.6g} ({threat.norm}); expected at most eps "
                             f"{threat.eps:.6g}; nothing was scored")


class Strongest:
    """The best candidate so far for each example: misclassified on most draws; of equals, with the highest loss.

    An attack that fails thus hands back its best try, not the image that it started from. Nothing here waits for the
    device to say which examples these are.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images.detach().clone()
        self.wrong = torch.full((len(images),), -1.0, device=images.device)
        self.loss = torch.full((len(images),), -torch.inf, device=images.device)

    def offer(self, candidate: Tensor, found: Estimate, rows: Tensor | None = None) -> None:
        """Keep what is better; `rows` int64 says which examples the candidates belong to (default: all)."""
        places = torch.arange(len(self.images), device=self.images.device) if rows is None else rows
        better = (found.wrong > self.wrong[places]) | (
            (found.wrong == self.wrong[places]) & (found.loss > self.loss[places]))
        self.images[places] = torch.where(better.view(-1, 1, 1, 1), candidate.detach(), self.images[places])
        self.wrong[places] = torch.where(better, found.wrong, self.wrong[places])
        self.loss[places] = torch.where(better, found.loss, self.loss[places])
