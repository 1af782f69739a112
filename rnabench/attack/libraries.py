"""Attack libraries: what they need around them, so that they leave no random state, mode or trace function behind, and
torchattacks as a second backend.

(Some also leave gradients in a network's parameters: run them under `frozen_parameters`, as evaluations do.)
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnabench.attack.estimators import OnePath, OnPath
from rnabench.attack.threat import Threat
from rnabench.errors import InvalidValue
from rnabench.path.path import Path
from rnabench.seeding import alone_with_globals
from rnabench.settings.attacks import Parameters


class Resampled(nn.Module):
    """A randomised model as libraries want it: one module that draws a path in every forward.

    The paths come from `draw(rows)`, a stream of their own: libraries seed torch's global generator per batch, and
    would otherwise attack the same few paths again and again.
    """

    def __init__(self, model: OnPath, draw: Callable[[int], Path]) -> None:
        super().__init__()
        self._model, self.draw = [model], draw  # in a list, so that it is no submodule
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        return self._model[0].on(self.draw(len(images)))(images).float()


class View(nn.Module):
    """Any function from images to logits as a module on `device`, in evaluation mode.

    It has one parameter, by which torchattacks finds the device, and none of the network's modules, so that no library
    can change their mode.
    """

    def __init__(self, logits_of: Callable[[Tensor], Tensor], device: torch.device) -> None:
        super().__init__()
        self._logits_of = [logits_of]  # in a list, so that it is no submodule
        self.anchor = nn.Parameter(torch.zeros((), device=device), requires_grad=False)
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        return self._logits_of[0](images).float()


def frozen_view(estimator: OnePath, device: torch.device) -> View:
    return View(estimator.view, device)


@contextmanager
def guarded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and random, and put them back afterwards; likewise the trace function
    (pyautoattack sets it to None, which ends coverage measurements and debuggers) and the level of its logger."""
    states, trace = (np.random.get_state(), random.getstate()), sys.gettrace()
    logger = logging.getLogger("auto-attack")
    level = logger.level
    with alone_with_globals(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            logger.setLevel(logging.ERROR)
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])
            sys.settrace(trace)
            logger.setLevel(level)


def torchattacks_call(name: str, attack: Parameters, threat: Threat, classes: int, samples: int = 0
                      ) -> tuple[str, dict[str, Any]]:
    """The class of torchattacks for this attack, and its arguments. Raises InvalidValue if it has none."""
    # what an attack that derives from another inherits is the other's counterpart
    own = "torchattacks" in vars(type(attack))
    if own and (call := attack.torchattacks(threat.norm, threat.eps, classes, samples)) is not None:
        return call
    if samples:
        raise InvalidValue("attack", name, "pgdN under eot:K (torchattacks has no other EOT attack), or protocol paper "
                                           "or same-path", ("pgd20",))
    raise InvalidValue("attack", name, f"an attack that torchattacks has for norm {threat.norm}, or --backend native")


def by_torchattacks(name: str, attack: Parameters, view: nn.Module, images: Tensor, labels: Tensor, threat: Threat,
                    classes: int, seed: int, samples: int = 0) -> Tensor:
    """Adversarial images by torchattacks, called as the paper's authors did. For cross-checks, never for a headline.

    `samples` > 0 asks for its EOT attacks. Its mistakes are kept as they are, but for one: images that its MI-FGSM
    turns to NaN (a gradient of zero, divided by its mean) are handed back as they were. Raises InvalidValue for what it
    cannot do.
    """
    import torchattacks

    kind, options = torchattacks_call(name, attack, threat, classes, samples)
    with guarded(seed):
        found: Tensor = getattr(torchattacks, kind)(view, **options)(images.contiguous(), labels)
    found = torch.where(found.flatten(1).isfinite().all(1).view(-1, 1, 1, 1), found.detach(), images)
    return found.to(memory_format=torch.channels_last)
