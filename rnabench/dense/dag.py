"""Dense Adversary Generation (Algorithm 1 of the thesis, Xie 2020): one change of an image against all its targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.dag import of_length, towards
from rnabench.attack.resumable import Kept, resumable
from rnabench.dense.network import Targets
from rnabench.errors import NumericalError
from rnabench.seeding import ExampleStreams


@dataclass(frozen=True)
class Found:
    """The change r [3, H, W] of an image, and how many targets were still correct before each step and at the end."""

    change: Tensor
    active: list[int]

    @property
    def steps(self) -> int:
        return len(self.active) - 1


def dense_adversary(targets: Targets, image: Tensor, wrong: Tensor, gamma: float, steps: int) -> Found:
    """Steps of L_inf length `gamma` (pixel units) from `image` [3, H, W] along the gradient, summed over the targets
    that are still correct, of the logit of the class that each is to be taken for, `wrong` int64 [T], less its own.

    Ends when no target is correct, after `steps`, or where no gradient is left. Clips to [0, 1] at every step, where
    the thesis does so once, at the end: nothing that the network is shown is lost. Raises NumericalError.
    """
    walk, objective = Kept(image=image, active=[]), towards(wrong)
    for step in resumable(range(steps + 1), walk):
        x = walk.image.detach().requires_grad_()
        with torch.set_grad_enabled(step < steps):
            logits = targets.logits_of(x)
        correct = logits.detach().argmax(1) == targets.labels
        walk.active.append(int(correct.sum()))
        if not walk.active[-1] or step == steps:
            break
        (gradient,) = torch.autograd.grad(objective(logits, targets.labels)[correct].sum(), x)
        if not bool(gradient.any()):
            break
        walk.image = (x + of_length(gradient, gamma)).clamp(0, 1)
    change = walk.image.detach() - image
    if not bool(change.isfinite().all()):
        raise NumericalError("dag: the network's gradients are not finite; nothing was scored")
    return Found(change, walk.active)


def wrong_class_of(classes: int, seed: int, index: int) -> Tensor:
    """A random permutation of the classes without fixed points, int64 [classes], for the image of that index: every
    such permutation is as likely as any other."""
    streams, each = ExampleStreams(seed, "wrong classes", indices=[index]), torch.arange(classes)
    while True:  # 1 in e permutations has no fixed point
        permutation = streams.uniform(classes)[0].argsort()
        if not bool((permutation == each).any()):
            return permutation


def permuted(change: Tensor, seed: int, index: int, draws: int) -> list[Tensor]:
    """The change with its rows and its columns in random orders, so many times: of the same length in every norm,
    without its structure. Another change of the same image is permuted alike."""
    height, width = change.shape[-2:]
    streams, made = ExampleStreams(seed, "permuted", indices=[index]), []
    for _ in range(draws):
        drawn = streams.uniform(height + width)[0].to(change.device)
        rows, columns = drawn[:height].argsort(), drawn[height:].argsort()
        made.append(change[:, rows][:, :, columns])
    return made


def perceptibility(change: Tensor) -> float:
    """p = sqrt(mean over pixels of |r_k|^2), r_k the change of pixel k in all channels, intensities in [0, 1]."""
    return float(change.square().sum(0).mean().sqrt())
