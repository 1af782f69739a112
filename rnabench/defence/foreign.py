"""Anybody's network as what is attacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from rnabench.defence.defence import Draws, check_form, check_logits
from rnabench.defence.randomness import CHOICES, FIRST, UNFIXED, Randomness, sources_of
from rnabench.defence.seeds import OnlyOne, Seeds
from rnabench.errors import InvalidValue, ModelError, RnabenchError
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.choice import ChoiceLayer
from rnabench.path.path import Path

ALONE = 3  # images that are looked at alone
T = TypeVar("T")


class ForeignModel(nn.Module):
    """Anybody's network, from [0, 1] images [N, 3, H, W] to logits [N, classes].

    Its draws are seeds of whatever it takes its random numbers from (`rnabench.defence.randomness` says what that may
    be): `sources` has the names of what its logits depend on, none if it is deterministic. `replayable` says whether a
    seed fixes them. `differentiable` says whether any gradient reaches `images`; where autograd finds no way to them (a
    detached tensor, integers, numpy), gradient attacks see a gradient of zero. `batch_dependent`: an image alone has
    other logits than among these mates (False for a single image, and where no seed fixes the draws: there it cannot be
    measured). Raises ModelError for a network that fails on `images` or returns no logits; NumericalError for NaN.
    """

    space: Draws

    def __init__(self, network: nn.Module, images: Tensor, classes: int, bf16: bool = False) -> None:
        super().__init__()
        self.network, self.bf16, self.classes, self._severed = network, bf16, classes, False
        self.randomness = Randomness(network)
        self.space = Seeds(self.randomness.per_image)

        drawn_at_all = set[str]()

        def run(seeds: Mapping[str, int]) -> tuple[Tensor, list[str]]:
            with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                logits, drawn_from = self._run(lambda shown: self.randomness.varied(shown, seeds), images)
            check_logits(logits, len(images), classes)
            drawn_at_all.update(drawn_from)
            return logits, drawn_from

        self.sources = sources_of(run)
        self._drawn_in_vain = drawn_at_all - {*self.sources}
        self.replayable = UNFIXED not in self.sources
        self.differentiable = self._gradient_reaches(images)
        with torch.no_grad():
            first = self.on(Path.of(FIRST))(images)
        self.batch_dependent = self.replayable and self._depends_on_mates(images, first.float())
        if not self.sources:
            self.space = OnlyOne()

    def _run(self, forward: Callable[[Tensor], T], images: Tensor) -> T:
        """What the user's code says of images, which it may change in place: it gets a copy. Raises ModelError."""
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled()):  # which it may change, too
                return forward(images.clone())
        except (RnabenchError, torch.OutOfMemoryError):
            raise
        except (Exception, SystemExit, GeneratorExit) as error:  # it may fail in any way
            raise ModelError(f"model: failed on images of shape {list(images.shape)}: {one_line(error)}; expected "
                             "logits") from error

    def split_by_draw(self) -> None:
        """From now on be asked about images with a draw for each: those with the same one go through it together."""
        if self.space.is_random:
            self.space = Seeds(takes_rows=True)

    def _gradient_reaches(self, images: Tensor) -> bool:
        """Whether the gradient of the margin between class 0 and the best other one is not zero everywhere."""
        try:
            with torch.inference_mode(False), torch.enable_grad():  # also where the caller wants none
                images = images.detach().clone().requires_grad_()
                logits = self.on(Path.of(FIRST))(images).float()
                (gradient,) = torch.autograd.grad((logits[:, 1:].amax(1) - logits[:, 0]).sum(), images)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # autograd's, which comes in many wordings, or that of a backward of the network's own
            self._severed = True
            return False
        return bool(gradient.any())

    def _depends_on_mates(self, images: Tensor, logits: Tensor) -> bool:
        """Whether the first images have other logits alone than among the others (`logits`), by more than rounding: a
        ten-thousandth of the largest logit, in bf16 a twentieth.

        An image is alone among copies of itself, whose statistics are its own: in a batch of the same size, for which
        the same random numbers are drawn and the same kernels run, and at the same place in it.
        """
        rounding = (0.05 if self.bf16 else 1e-4) * float(logits.abs().max())
        for row in range(min(ALONE, len(images))):
            copies = torch.cat([images[row : row + 1]] * len(images))
            with torch.no_grad():
                alone = self.on(Path.of(FIRST))(copies)[row].float()
            if not float((alone - logits[row]).abs().max()) <= rounding:  # NaN is another logit, too
                return True
        return False

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        """The network with its random numbers at the path's seed, or at one for each image."""
        return lambda images: self._on(path, images)

    def _on(self, path: Path, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            if not len(path):
                return self._logits(images, self._deterministic)
            seeds: list[int] = path.choices[:, 0].tolist()
            if len(seeds) not in (1, len(images)):
                raise InvalidValue("path", f"{len(seeds)} rows", f"1 row or {len(images)}, one per image")
            if self.randomness.per_image or len(set(seeds)) == 1:
                return self._logits(images, partial(self.randomness.forward, seeds=seeds))
            return self._part_by_part(images, seeds)

    def _deterministic(self, images: Tensor) -> Tensor:
        """Logits of a network that was found to be deterministic. Raises ModelError if it turns out that it is not."""
        logits: Tensor
        logits, drawn_from = self.randomness.varied(images, {})
        if surprising := [name for name in drawn_from if name not in self._drawn_in_vain]:
            raise ModelError(f"model: drew from {', '.join(surprising)}, and for the first images, by which it was "
                             "taken to be deterministic, it did not; expected draws for all images, or for none")
        return logits

    def _part_by_part(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """Images at the same seed go through the network together."""
        places: dict[int, list[int]] = {}
        for place, seed in enumerate(seeds):
            places.setdefault(seed, []).append(place)
        parts = [self._logits(images[rows], partial(self.randomness.forward, seeds=[seed]))
                 for seed, rows in places.items()]
        order = torch.tensor([place for rows in places.values() for place in rows], device=images.device)
        return torch.cat(parts)[order.argsort()]

    def _logits(self, images: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        if not (self._severed and torch.is_grad_enabled() and images.requires_grad):
            return self._checked(self._run(forward, images), images)
        with torch.no_grad():
            logits = self._checked(self._run(forward, images.detach()), images)
        return logits + (0 * images).flatten(1).sum(1, keepdim=True)  # the same logits, with a gradient of zero

    def _checked(self, logits: Tensor, images: Tensor) -> Tensor:
        check_form(logits, len(images), self.classes)
        return logits


Classifier = RandomizedClassifier | ForeignModel
"""The two kinds of networks that are attacked, as modules."""


def as_classifier(network: nn.Module, images: Tensor, classes: int, bf16: bool = False) -> tuple[
        Classifier, ForeignModel]:
    """Anybody's network as what is attacked, and what was seen of it on a few `images`: itself or, if all that is
    random in it are choice layers, a `RandomizedClassifier`, which has paths and draws for each image.

    Raises as `ForeignModel` does.
    """
    drawing = [module for module in network.modules() if isinstance(module, RandomizedClassifier)]
    if not drawing and any(isinstance(module, ChoiceLayer) for module in network.modules()):
        drawing = [network := RandomizedClassifier(network)]
    seen = ForeignModel(network, images, classes, bf16).eval()
    if set(seen.sources) != {CHOICES} or not seen.differentiable or not _each_once(drawing, seen, images):
        return seen, seen
    classifier = network if isinstance(network, RandomizedClassifier) else RandomizedClassifier(network)
    if seen.batch_dependent and not classifier.batch_dependent:  # mixed by what is no normaliser of ours
        return seen, seen
    classifier.precision = "bf16" if bf16 else "fp32"
    # it may change its images in place
    classifier.network.register_forward_pre_hook(lambda _, given: (given[0].clone(), *given[1:]))
    return classifier.eval(), seen


def is_foreign(network: nn.Module) -> bool:
    """Whether some of its code is neither ours nor torch's."""
    return any(type(module).__module__.partition(".")[0] not in ("rnabench", "torch") for module in network.modules())


def _each_once(drawing: Sequence[RandomizedClassifier], model: ForeignModel, images: Tensor) -> bool:
    """Whether a forward asks each of these once: what averages several of their draws has no single path."""
    calls: list[object] = []
    hooks = [module.register_forward_pre_hook(lambda module, _: calls.append(module)) for module in drawing]
    with torch.no_grad():
        model.on(Path.of(FIRST))(images)
    for hook in hooks:
        hook.remove()
    return len(calls) == len(set(map(id, calls))) == len(drawing)


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
