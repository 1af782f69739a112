"""Estimators: what an attacker learns of a model that draws a path in every forward.

A classifier, here, is anything with `on(path)` -> (images -> logits). Estimators take the paths from a function
`draw(repeats)`, so that they know neither the space of paths nor the granularity of draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from rnabench.attack.averages import FUSIONS, Fusion
from rnabench.attack.losses import Loss, cross_entropy
from rnabench.attack.resumable import Kept, remember, resumable
from rnabench.path.path import Path
from rnabench.settings.protocols import Average

DrawPath = Callable[[int], Path]
"""repeats -> a path for a batch that holds every example `repeats` times (one row, or repeats x N rows)."""


class OnPath(Protocol):
    """What attacks see of a model."""

    def on(self, path: Path) -> Callable[[Tensor], Tensor]: ...


class Look(Protocol):
    """How the network is asked: about the images as they are, or about what random transformations make of them."""

    def __call__(self, network: OnPath, path: Path, images: Tensor, repeats: int, rows: Tensor | None) -> Tensor:
        """Logits [repeats * n, classes] of images [repeats * n, C, H, W], on a path of one row or of as many: the next
        `repeats` draws of the examples that stand at `rows` int64 [n] of their batch (None: of all)."""

    def of_whole_batches(self) -> Look:
        """The same for a network whose predictions depend on batch mates: every batch is asked about as one."""


@contextmanager
def frozen_parameters(model: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient inside the block: attacks cost no weight gradients and leave none behind."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class Estimate:
    """Means over draws: loss [N], the share of draws that misclassify [N], and the loss's gradient [N, C, H, W]."""

    loss: Tensor
    wrong: Tensor
    gradient: Tensor

    def at(self, rows: Tensor | slice) -> Estimate:
        return Estimate(self.loss[rows], self.wrong[rows], self.gradient[rows])


class Estimator(ABC):
    """Means over `samples` draws of paths.

    What is averaged is each draw's loss, so that gradients average as well, or with a `fusion` the draws' predictions:
    the loss, its gradient and the gaps are then those of the one prediction that all draws make together. All of them
    have to stay in memory until it is differentiated; an evaluation that runs out takes fewer images at once.

    Every method takes `images` [n, C, H, W], `labels` int64 [n] and, where they are only some examples of the batch
    (or some of them twice), `rows` int64 [n]: each one's place in the batch, so that it keeps its own paths.
    """

    samples: int
    is_random: bool
    look: Look | None = None
    fusion: Fusion | None = None

    def through(self, look: Look) -> Self:
        """The same attacker, who sees the network through random transformations of its inputs: each draw is of a
        path and of a transformation."""
        other = copy(self)
        other.look, other.is_random = look, True
        return other

    @abstractmethod
    def forward(self, images: Tensor, rows: Tensor | None = None, done: int = 0) -> Iterator[Tensor]:
        """Logits [draws, n, classes], in pieces that make up all draws but the first `done`; differentiable."""

    def held(self) -> Estimator:
        """This attacker on the next draws of paths, which are the same whenever it is asked from now on."""
        return self

    def members(self) -> list[Estimator]:
        """The next draws of paths, each by itself and frozen: one estimator for each of the `samples`."""
        return [self]

    @property
    def predictions(self) -> int:
        """How many predictions have a loss of their own: all draws, or the one that they make together."""
        return self.samples if self.fusion is None else 1

    def _pieces(self, images: Tensor, rows: Tensor | None, done: Kept) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits [m, n, classes] that have a loss of their own, beside those [k, n, classes] of the draws behind them,
        in pieces that make up all `predictions` and all draws but the first, which are `done`."""
        if self.fusion is None:
            for logits in self.forward(images, rows, done.draws):
                yield logits, logits
        elif not done.draws:
            drawn = torch.cat(list(self.forward(images, rows)))
            yield self.fusion(drawn).unsqueeze(0), drawn

    def gradient(self, images: Tensor, labels: Tensor, loss: Loss = cross_entropy, rows: Tensor | None = None
                 ) -> Tensor:
        """The mean gradient of each example's loss with respect to its image."""
        images, sums = images.detach().requires_grad_(), Kept(draws=0, total=None)
        for logits, drawn in resumable(self._pieces(images, rows, sums), sums, forget=True):
            (gradient,) = torch.autograd.grad(loss(logits, labels).sum(), images)
            sums.total = gradient if sums.total is None else sums.total + gradient  # it may be an expanded tensor
            sums.draws += len(drawn)
        return torch.as_tensor(sums.total if self.predictions == 1 else sums.total / self.predictions)

    def estimate(self, images: Tensor, labels: Tensor, loss: Loss = cross_entropy, rows: Tensor | None = None,
                 gradient: bool = True) -> Estimate:
        """Loss, share of wrong draws and (unless only the first two are wanted) gradient, on the same draws."""
        images = images.detach().requires_grad_(gradient)
        none = torch.zeros(len(images), device=images.device)
        slope = torch.zeros_like(images, requires_grad=False) if gradient else images.new_zeros(())
        sums = Kept(draws=0, loss=none, wrong=none.clone(), slope=slope)
        with torch.set_grad_enabled(gradient):
            for logits, drawn in resumable(self._pieces(images, rows, sums), sums, forget=gradient):
                each = loss(logits, labels)
                sums.loss += each.detach().sum(0)
                sums.wrong += (drawn.detach().argmax(-1) != labels).sum(0)
                if gradient:
                    sums.slope += torch.autograd.grad(each.sum(), images)[0]
                sums.draws += len(drawn)
        return Estimate(sums.loss / self.predictions, sums.wrong / self.samples,
                        sums.slope / self.predictions if gradient else sums.slope.expand_as(images))

    def wrong(self, images: Tensor, labels: Tensor, rows: Tensor | None = None, at_least: int = 1) -> Tensor:
        """The share of draws that misclassify, [n], over at least so many draws if draws differ."""
        rounds, shares = -(-at_least // self.samples) if self.is_random else 1, Kept(rounds=[])
        for _ in resumable(range(rounds), shares):
            shares.rounds.append(self.estimate(images, labels, rows=rows, gradient=False).wrong)
        return torch.stack(shares.rounds).mean(0)

    def gaps(self, images: Tensor, labels: Tensor, targets: Tensor, rows: Tensor | None = None
             ) -> tuple[Tensor, Tensor]:
        """The mean logits of `targets` int64 [n, T] less the right class's, [T, n], and the gradients [T, n, C, H, W]
        of these gaps."""
        images = images.detach().requires_grad_()
        sums = Kept(draws=0, values=torch.zeros(targets.T.shape, device=images.device),
                    slopes=torch.zeros((targets.shape[1], *images.shape), device=images.device))
        for logits, drawn in resumable(self._pieces(images, rows, sums), sums, forget=True):
            summed = logits.sum(0)
            gaps = (summed.gather(1, targets) - summed.gather(1, labels[:, None])).T
            sums.values += gaps.detach()
            for number, gap in enumerate(gaps):
                sums.slopes[number] += torch.autograd.grad(gap.sum(), images, retain_graph=number + 1 < len(gaps))[0]
            sums.draws += len(drawn)
        return sums.values / self.predictions, sums.slopes.div_(self.predictions)

    def mean_logits(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """[n, classes], without a gradient."""
        sums = Kept(draws=0, pieces=[])
        with torch.no_grad():
            for piece, drawn in resumable(self._pieces(images, rows, sums), sums):
                sums.pieces.append(piece.sum(0))
                sums.draws += len(drawn)
        return torch.stack(sums.pieces).sum(0) / self.predictions


class OnePath(Estimator):
    """The paper's attacker: one path, frozen for the whole attack."""

    samples, is_random = 1, False

    def __init__(self, model: OnPath, path: Path) -> None:
        self.model, self.path, self.view = model, path, model.on(path)

    def forward(self, images: Tensor, rows: Tensor | None = None, done: int = 0) -> Iterator[Tensor]:
        path = self.path if rows is None else self.path.take(rows)
        if done:
            return
        if self.look is not None:
            yield self.look(self.model, path, images, 1, rows).float().unsqueeze(0)
        else:
            yield (self.view if path is self.path else self.model.on(path))(images).float().unsqueeze(0)


def rows_pay(device: torch.device) -> bool:
    """Whether one pass with a path for each image is faster than one for each path, as it is not on a CPU."""
    return device.type != "cpu"


class Expectation(Estimator):
    """Expectation over transformation: means over `samples` fresh paths at every step.

    One sample is the naive attack on the deployed model (protocol `resample`). Where paths have a row for each image,
    images of up to `most_pixels` pixels in all go through the network at once (default: those of 1,024 images of 32x32,
    on a CPU of 64: larger batches are slower there).
    """

    is_random = True

    def __init__(self, model: OnPath, draw: DrawPath, samples: int, most_pixels: int | None = None,
                 average: Average = "losses") -> None:
        self.model, self.draw, self.samples, self.most_pixels = model, draw, samples, most_pixels
        self.fusion = FUSIONS[average]

    def held(self) -> Estimator:
        first = self.draw(self.samples)
        paths = [Path(rows) for rows in first.choices.chunk(self.samples)] if first.per_sample else [
            first, *(self.draw(1) for _ in range(1, self.samples))]  # or a draw is one for the whole batch
        other = GivenPaths(self.model, paths, self.most_pixels)
        other.look, other.fusion = self.look, self.fusion
        return other

    def members(self) -> list[Estimator]:
        return self.held().members()

    def forward(self, images: Tensor, rows: Tensor | None = None, done: int = 0) -> Iterator[Tensor]:
        limit = self.most_pixels or (64 if images.device.type == "cpu" else 1024) * 32 * 32
        while done < self.samples:
            repeats = min(self.samples - done, max(1, limit // (len(images) * images[0, 0].numel())))
            path = self.draw(repeats)
            if not path.per_sample:  # a draw for the whole batch serves one pass over it
                repeats = 1
            elif rows is not None:
                turns = torch.arange(repeats, device=rows.device) * (len(path.choices) // repeats)
                path = path.take((turns[:, None] + rows).flatten())
            many = torch.cat([images] * repeats) if repeats > 1 else images  # channels-last, which `repeat` is not
            logits = (self.model.on(path)(many) if self.look is None else
                      self.look(self.model, path, many, repeats, rows))
            yield logits.float().view(repeats, len(images), -1)
            done += repeats


class GivenPaths(Expectation):
    """Means over the same `paths` at every step, each of one row or of one for each image: what an attacker sees who
    knows all the paths that there are, or holds those that it drew."""

    is_random = False

    def __init__(self, model: OnPath, paths: Sequence[Path], most_pixels: int | None = None,
                 average: Average = "losses") -> None:
        self.paths, self._taken = tuple(paths), 0
        remember(self, "_taken")
        super().__init__(model, self._next, len(self.paths), most_pixels, average)

    def held(self) -> Estimator:
        return self

    def members(self) -> list[Estimator]:
        alone = [OnePath(self.model, path) for path in self.paths]
        for member in alone:
            member.look = self.look
        return list(alone)

    def _next(self, repeats: int) -> Path:
        """The next paths in turn; a pass asks for all of them, so that every pass starts with the first."""
        first = self.paths[self._taken]
        taken = [first] if not first.per_sample else self.paths[self._taken : self._taken + repeats]
        self._taken = (self._taken + len(taken)) % len(self.paths)
        return first if len(taken) == 1 else Path(torch.cat([path.choices for path in taken]))


GRADIENT_COST = 3.0  # forward passes that a pass with a gradient of the images takes about as long as
OnPass = Callable[[float], None]
"""Told of each pass: its images, times what it costs in forward passes."""


def nobody(passes: float) -> None:
    """Whom to tell where nobody asks."""


class Watched:
    """Any network under attack, of which `tell` hears all passes."""

    def __init__(self, network: OnPath, tell: OnPass) -> None:
        self.network, self.tell = network, tell

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        view = self.network.on(path)

        def logits_of(images: Tensor) -> Tensor:
            logits = view(images)
            self.tell(len(images) * (GRADIENT_COST if torch.is_grad_enabled() and images.requires_grad else 1.0))
            return logits

        return logits_of
