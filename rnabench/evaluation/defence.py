"""What is evaluated: a module whose randomness can be drawn, frozen and replayed."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from rnabench.attack.estimators import OnePath
from rnabench.attack.losses import margin
from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue, ModelError, NumericalError, one_of
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.registry import Registry

DEFENCES: Registry[Callable[[], nn.Module]] = Registry("--model", "rnabench.evaluation", "rnabench.defences")
"""Functions without arguments that return a trained network, from [0, 1] images [N, 3, H, W] to logits [N, classes];
what is random in it draws from torch's global generator, so that its draws can be frozen (see ForeignModel)."""


class Draws(Protocol):
    """The part of `PathSpace` that an evaluation needs."""

    @property
    def is_random(self) -> bool: ...

    @property
    def takes_rows(self) -> bool:
        """Whether a path may have a row for each image of a batch."""

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path: ...

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path: ...


class Defence(Protocol):
    """A model under attack. `RandomizedClassifier` and `ForeignModel` are the two kinds; their `batch_dependent` says
    whether a prediction depends on the image's batch mates."""

    @property
    def space(self) -> Draws: ...

    def on(self, path: Path) -> Callable[[Tensor], Tensor]: ...


def batch_dependent(defence: Defence) -> bool:
    """Whether batches have to stay whole; a defence that does not say predicts each image by itself."""
    return bool(getattr(defence, "batch_dependent", False))


class _Seeds:
    """The draws of a model that uses torch's global generator: a path is a seed for it."""

    is_random, takes_rows = True, False

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return Path(tuple((int(seed),) for seed in torch.randint(0, 2**31 - 1, (rows,), generator=generator)))

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        if len(streams) > 1:
            raise InvalidValue("--granularity", "sample",
                               "'batch' for a --model that draws from torch's global generator")
        return Path(tuple((seed,) for seed in streams.below([2**31 - 1], repeats).flatten().tolist()))


class _One:
    """The draws of a deterministic model."""

    is_random, takes_rows = False, True

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return Path(((),) * rows)

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        return Path(((),) * (repeats * len(streams)))


ALONE = 3  # images that are looked at alone


class ForeignModel(nn.Module):
    """Anybody's network, from [0, 1] images [N, 3, H, W] to logits [N, classes].

    If two forwards differ it is randomised: its draws are then seeds of torch's global generators, which freeze it as
    long as it takes its random numbers from there (`replayable` says whether it does). `differentiable` says whether
    any gradient reaches `images`; where autograd finds no way to them (a detached tensor, integers, numpy), gradient
    attacks see a gradient of zero. `batch_dependent`: an image alone has other logits than among these mates (False for
    a single image, and where no seed fixes the draws: there it cannot be measured). Raises ModelError for a network
    that fails on `images` or returns no logits; NumericalError for NaN.
    """

    space: Draws

    def __init__(self, network: nn.Module, images: Tensor, classes: int, bf16: bool = False) -> None:
        super().__init__()
        self.network, self.bf16, self._severed = network, bf16, False
        self.space = _Seeds()
        labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        first, second, again = (self._tried(images, seed) for seed in (1, 2, 1))
        check_logits(first, len(images), classes)
        try:
            gradient = OnePath(self, Path.of(1)).gradient(images, labels, margin)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # autograd's, which comes in many wordings
            self._severed, gradient = True, torch.zeros(())
        self.differentiable = bool(gradient.any())
        self.replayable = torch.equal(first, again)
        if self.replayable and torch.equal(first, second):
            self.space = _One()
        self.batch_dependent = self.replayable and self._depends_on_mates(images, first.float())

    def _tried(self, images: Tensor, seed: int) -> Tensor:
        try:
            with torch.no_grad():
                return self.on(Path.of(seed))(images)
        except Exception as error:  # the user's code may fail in any way
            raise ModelError(f"model: failed on images of shape {list(images.shape)}: {_one_line(error)}; expected "
                             "logits") from error

    def _depends_on_mates(self, images: Tensor, logits: Tensor) -> bool:
        """Whether the first images have other logits alone than among the others (`logits`), by more than rounding: a
        ten-thousandth of the largest logit, in bf16 a twentieth.

        An image is alone among copies of itself, whose statistics are its own: in a batch of the same size, for which
        the same random numbers are drawn and the same kernels run, and at the same place in it.
        """
        rounding = (0.05 if self.bf16 else 1e-4) * float(logits.abs().max())
        for row in range(min(ALONE, len(images))):
            alone = self._tried(torch.cat([images[row : row + 1]] * len(images)), 1)[row].float()
            if not float((alone - logits[row]).abs().max()) <= rounding:  # NaN is another logit, too
                return True
        return False

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        return lambda images: self._on(path, images)

    def _on(self, path: Path, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            if not len(path):
                return self._forward(images)
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                torch.manual_seed(path.rows[0][0])
                return self._forward(images)

    def _forward(self, images: Tensor) -> Tensor:
        if not (self._severed and torch.is_grad_enabled() and images.requires_grad):
            logits: Tensor = self.network(images)
            return logits
        with torch.no_grad():
            logits = self.network(images.detach())
        return logits + (0 * images).flatten(1).sum(1, keepdim=True)  # the same logits, with a gradient of zero


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def check_logits(logits: object, images: int, classes: int) -> None:
    """Raises ModelError unless these are logits [images, classes], NumericalError unless they are finite."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != images:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"model: returned {shape} for {images} images; expected logits of shape [{images}, classes]")
    if logits.shape[1] != classes:
        raise ModelError(f"model: returned {logits.shape[1]} classes; expected {classes}, as in the data set")
    if not bool(torch.isfinite(logits).all()):
        raise NumericalError("model: logits are not finite (NaN or infinity); expected numbers; nothing was scored")


def import_model(reference: str) -> nn.Module:
    """The network of a registered defence, or what `package.module:factory` (looked up from the working directory too)
    returns: a torch module, in eval mode. Raises InvalidValue for another form or name, ModelError."""
    module_name, colon, factory_name = reference.partition(":")
    registered = not colon and reference in DEFENCES
    if not registered and not (module_name and factory_name):
        names = f", or a registered name, {one_of(DEFENCES)}" if list(DEFENCES) else ""
        raise InvalidValue("--model", reference, f"package.module:factory{names}", DEFENCES)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory = DEFENCES[reference] if registered else getattr(importlib.import_module(module_name), factory_name)
        network = factory()
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise ModelError(f"--model: {reference!r} failed with {_one_line(error)}; expected "
                         "package.module:factory, a callable without arguments that returns a torch module") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"--model: {reference!r} returned {type(network).__name__}; expected a torch.nn.Module")
    return network.eval()


SEEDS = (1, 2)
AT_ONCE = 32


def logits_sha256(model: ForeignModel, batch: Batch) -> str | None:
    """The hash of the logits of a batch at fixed seeds; None for a model whose draws no seed fixes.

    To the last bit: another device or number of threads, which round differently, is another hash. Then an evaluation
    is made anew once too often, never once too seldom.
    """
    if not model.replayable:
        return None
    found = hashlib.sha256()
    for seed in SEEDS if model.space.is_random else SEEDS[:1]:
        for place in range(0, len(batch.indices), AT_ONCE):
            with torch.no_grad():
                logits = model.on(Path.of(seed))(batch.part(place, place + AT_ONCE).images)
            found.update(logits.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def source_sha256(network: nn.Module, reference: str) -> str | None:
    """The hash of a network's source: the module of its factory, and the classes of its layers but for torch's own.

    None if none of it has a source. What these call in other files is seen by the logits only.
    """
    module_name, colon, _ = reference.partition(":")
    sources = list(_sources(network, module_name if colon else DEFENCES[reference].__module__))
    return hashlib.sha256("\0".join(sources).encode()).hexdigest() if sources else None


def _sources(network: nn.Module, factory_module: str) -> Iterator[str]:
    classes = {type(layer) for layer in network.modules() if type(layer).__module__.split(".")[0] != "torch"}
    in_order = sorted(classes, key=lambda each: (each.__module__, each.__qualname__))
    for thing in (sys.modules.get(factory_module), *in_order):
        try:
            yield inspect.getsource(thing)  # type: ignore[arg-type]
        except (OSError, TypeError):  # made at run time, or compiled
            continue
