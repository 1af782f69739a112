"""One batch: attacked, and scored on fresh draws."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnabench.attack.attack import Attack, LibraryAttack, Uniform, check, ready
from rnabench.attack.estimators import Estimator, Expectation, OnePath, OnPass, Watched, nobody, rows_pay
from rnabench.attack.libraries import Resampled, by_torchattacks, frozen_view, torchattacks_call
from rnabench.attack.resumable import Kept, remember, resumable
from rnabench.attack.threat import Threat
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.data.batches import Batch
from rnabench.defence.defence import Defence, batch_dependent, check_logits
from rnabench.errors import InvalidValue, NumericalError
from rnabench.evaluation.cells import SURROGATE_PROTOCOL, Cell, Surrogate
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.runtime.device import memory_ran_out, undivided
from rnabench.runtime.progress import Progress, Silent
from rnabench.scoring.interval import Groups
from rnabench.scoring.outcome import Outcome, batch_groups, path_groups
from rnabench.seeding import ExampleStreams, derive, stream
from rnabench.settings.attacks import AttackSpec, resolved
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.pixels import PIXEL_UNITS
from rnabench.settings.protocols import Protocol


def parameters(spec: AttackSpec, keys: EvaluationSettings, samples: int) -> dict[str, Any]:
    """Every parameter in effect. Raises InvalidValue for what the norm does not have."""
    values = resolved(spec, keys.eps, keys.step)
    for name in ("eps", "step_size"):
        if keys.norm == "Linf" and values.get(name, 0) > 1:
            raise InvalidValue("attack", f"{spec.name} ({name}: {values[name]:g})", PIXEL_UNITS)
    attack = spec.parameters
    if keys.backend == "native" and keys.norm not in attack.norms:
        raise InvalidValue("attack", spec.name, f"another attack for norm {keys.norm}: {spec.kind} is for "
                                                f"{' and '.join(attack.norms)}")
    if keys.backend == "native" and isinstance(attack, LibraryAttack):
        return values | attack.of_library(samples) | {"backend": attack.library}
    return values | {"backend": keys.backend}


@dataclass
class Attacker:
    """Streams are named by (seed, purpose), and by example or path group, never by an attack: attacks that are compared
    meet the same frozen paths, averaged paths and starts. `most_pixels` as in Expectation; `on_pass` is told of every
    pass through the network, `on_images` of the adversarial images of every batch."""

    defence: Defence
    keys: EvaluationSettings
    classes: int
    most_pixels: int | None = None
    on_pass: OnPass = nobody
    on_images: Callable[[Batch, Tensor], None] | None = None

    def __call__(self, spec: AttackSpec, protocol: Protocol, batch: Batch, groups: Groups) -> tuple[Tensor, Path]:
        """Adversarial images of a batch whose images are in these path `groups`, and a path that the attacker knows:
        its frozen one, or one more draw (one row, or one for each image). Raises NumericalError for images that leave
        [0, 1] or the ball, InvalidValue for what a library cannot average."""
        attack, threat = ready(spec, self.keys.norm, self.keys.eps, self.keys.step)
        draw = self.drawer("attack path", batch, groups)
        averaged = protocol.samples if self.defence.space.is_random else 0
        network = InBatches(self.network, len(batch.indices)) if batch_dependent(self.defence) else self.network
        if averaged:
            self.keys.check_protocol(spec, protocol)
            path = self.drawer("reported path", batch, groups)(1)
            estimator: Estimator = Expectation(network, draw, averaged, self.most_pixels, protocol.average)
        else:
            path = draw(1)
            estimator = OnePath(network, path)
        found = self._run(spec.name, attack, threat, estimator, batch, averaged)
        check(spec.name, found, batch.images, threat)
        if self.on_images is not None:
            self.on_images(batch, found)
        return found, path

    @property
    def network(self) -> Watched:
        """What attacks see of the defence."""
        return Watched(self.defence, self.on_pass)

    def groups(self, first: int, images: int) -> Groups:
        """Which of so many images, from number `first` of the evaluation on, share their draws of paths: path groups,
        or those of a batch where predictions depend on batch mates."""
        if batch_dependent(self.defence):
            return batch_groups(first, images, self.keys.batch_size)
        return path_groups(first, images, self.keys.attack_paths)

    def drawer(self, purpose: str, batch: Batch, groups: Groups) -> Callable[[int], Path]:
        """Draws of paths, one after the other: a row for each image, or one row if one draw serves them all."""
        space = self.defence.space
        if not space.is_random:
            only = space.sample(torch.Generator())
            return lambda repeats: only
        names = batch.indices if self.keys.granularity == "sample" else groups.tolist()
        if len(set(names)) == 1:
            together = ExampleStreams(self.keys.seed, purpose, indices=names[:1])  # its numbers stay on the host
            remember(together, "drawn")
            if not (space.takes_rows and rows_pay(batch.images.device)):
                return lambda repeats: space.sample_each(together)
            return lambda repeats: _for_all(space.sample_each(together, repeats), len(names), batch.images.device)
        streams = ExampleStreams(self.keys.seed, purpose, indices=names, device=batch.images.device)
        remember(streams, "drawn")
        return lambda repeats: space.sample_each(streams, repeats)

    def _run(self, name: str, attack: Attack | LibraryAttack, threat: Threat, estimator: Estimator, batch: Batch,
             samples: int) -> Tensor:
        images, labels = batch.images, batch.labels
        if self.keys.backend == "native" and isinstance(attack, Attack):
            asked = WholeBatch(estimator, images) if batch_dependent(self.defence) else estimator
            return attack.run(asked, images, labels, self._uniform(batch), threat)
        # a library draws for the images that it is given together: its streams are named by the first of them
        names = "library", batch.indices[0]
        seed, generator = derive(self.keys.seed, *names), stream(self.keys.seed, *names, "paths")
        rows = self.keys.granularity == "sample"
        view = frozen_view(estimator, images.device) if isinstance(estimator, OnePath) else Resampled(
            self.network, lambda count: self.defence.space.sample(generator, count if rows else 1))
        if self.keys.backend == "native" and isinstance(attack, LibraryAttack):
            return attack.call(view, images, labels, threat, self.classes, seed, samples)
        return by_torchattacks(name, attack, view, images, labels, threat, self.classes, seed, samples)

    def _uniform(self, batch: Batch) -> Uniform:
        streams = ExampleStreams(self.keys.seed, "attack start", indices=batch.indices, device=batch.images.device)
        remember(streams, "drawn")
        return lambda *shape: streams.uniform(*shape).to(batch.images)


def _for_all(path: Path, images: int, device: torch.device) -> Path:
    """A path that has a row for each draw, with one for each draw and image; one row stays as it is."""
    return Path(path.choices.to(device, non_blocking=True).repeat_interleave(images, 0)) if path.per_sample else path


def uses_library(spec: AttackSpec, keys: EvaluationSettings) -> bool:
    """Whether somebody else's code attacks, which knows one path for all images that it is given."""
    return keys.backend != "native" or isinstance(spec.parameters, LibraryAttack)


def check_plan(keys: EvaluationSettings, specs: list[tuple[AttackSpec, int]], is_random: bool, classes: int) -> None:
    """Fail before the first attack, not in the middle. Raises InvalidValue."""
    for spec, samples in specs:
        values = parameters(spec, keys, samples)
        rows = is_random and keys.granularity == "sample"
        if rows and not samples and values["backend"] != "native":
            raise InvalidValue("granularity", "sample", f"batch for {spec.name} on a frozen path (libraries attack "
                                                        "some images of a batch at a time, and mix up their paths)")
        needed = spec.parameters.least_classes
        if classes < needed:
            raise InvalidValue("attack", spec.name, f"another one for {classes} classes: its DLR loss needs {needed}")
        if keys.backend == "torchattacks":
            attack, threat = ready(spec, keys.norm, keys.eps, keys.step)
            torchattacks_call(spec.name, attack, threat, classes, samples if is_random else 0)
    if keys.cumulative and is_random:
        raise InvalidValue("cumulative", True, "a deterministic model: a mean over draws needs every example attacked")


class Evaluator:
    """Attacks and scores one batch."""

    def __init__(self, defence: Defence, keys: EvaluationSettings, classes: int, progress: Progress | None = None,
                 surrogate: Surrogate | None = None) -> None:
        self.defence, self.keys, self.classes, self.progress = defence, keys, classes, progress or Silent()
        self.random, self.whole = defence.space.is_random, batch_dependent(defence)
        self.on_pass: OnPass = nobody  # told of all that is computed for a batch, attacks and predictions
        self.attacker = Attacker(defence, keys, classes, on_pass=self._passed)
        self.surrogate = Attacker(surrogate.defence, keys, classes, on_pass=self._passed) if surrogate else None
        self.take_all_memory()

    def _passed(self, passes: float) -> None:
        self.on_pass(passes)

    def take_all_memory(self) -> None:
        """Forget that memory ran out: the next attack may need less."""
        self.at_once, self.attacker.most_pixels = self.keys.batch_size, None

    def outcome(self, cell: Cell, batch: Batch, first: int, alive: NDArray[np.bool_] | None = None) -> Outcome:
        """The outcome of a batch that starts at image number `first` of the evaluation; images that are not `alive`
        count as broken and are not attacked.

        If memory runs out the batch is worked on in halves: only libraries' attacks draw other random numbers then.
        Where predictions depend on batch mates it stays whole, with all that is not `alive`."""
        started = time.perf_counter()
        check_images(batch.images)
        count = len(batch.indices)
        groups = self.attacker.groups(first, count)
        standing = np.arange(count) if alive is None else np.flatnonzero(alive)
        together = self._apart(cell, np.arange(count) if self.whole and len(standing) else standing, groups)
        found = _nothing(cell, count, self.at_once)
        for rows in resumable(self._left(together, found, batch), found):
            part, failed = batch.take(rows.tolist()), False
            try:
                outcome = self._outcome(cell, part, groups[rows])
                _put(found, rows, *((standing, outcome.take(standing)) if self.whole else (rows, outcome)))
            except RuntimeError as error:
                failed = True
                if not self.halve(error, part):
                    raise
            if failed:  # outside the handler, which holds on to the failed attack's tensors
                found.at_once = self.at_once
                if batch.images.device.type == "cuda":
                    torch.cuda.empty_cache()
        shared = self.random and self.keys.granularity == "batch"
        return Outcome(*cell.key, np.zeros((count, 1), dtype=bool) if found.correct is None else found.correct,
                       found.majority, found.reported, groups if shared else None, time.perf_counter() - started,
                       found.distances)

    def _left(self, together: Sequence[NDArray[np.int64]], found: Kept, batch: Batch) -> Iterator[NDArray[np.int64]]:
        """The images that are worked on next, as many at once as memory was found to hold, until all are done."""
        if found.at_once < self.at_once:
            self._take_at_once(found.at_once, batch)
        for rows in together:
            while len(left := rows[~found.done[rows]]):
                yield left[: self.at_once]

    def _take_at_once(self, images: int, batch: Batch) -> None:
        self.at_once = images
        # averaging over paths may then take no more images at once either
        self.attacker.most_pixels = images * batch.images[0, 0].numel()
        if self.surrogate is not None:
            self.surrogate.most_pixels = self.attacker.most_pixels

    def _apart(self, cell: Cell, rows: NDArray[np.int64], groups: Groups) -> list[NDArray[np.int64]]:
        """The images that are worked on together: all, or the groups one by one where only one path is known at a
        time."""
        one_path = not self.defence.space.takes_rows or (cell.attack is not None and cell.surrogate is None and
                                                         uses_library(cell.attack, self.keys))
        if self.whole or not (one_path and self.random and self.keys.granularity == "batch"):
            return [rows] if len(rows) else []
        return [rows[groups[rows] == group] for group in np.unique(groups[rows])]

    def halve(self, error: RuntimeError, batch: Batch) -> bool:
        """Whether memory ran out with this batch and there is a half to go on with. Raises InvalidValue if a half is
        another batch."""
        images = len(batch.indices)
        if not memory_ran_out(error) or images == 1:
            return False
        if self.whole:
            raise undivided(self.keys.batch_size) from error
        self._take_at_once(images // 2, batch)
        if isinstance(self.defence, RandomizedClassifier) and self.defence.recorded is not None:
            self.defence.recorded.forget()
        self.progress.line(f"out of memory: going on with {self.at_once} images at once")
        return True

    def _outcome(self, cell: Cell, batch: Batch, groups: Groups) -> Outcome:
        images, attacked = batch.images, None
        if cell.surrogate is not None and cell.attack is not None:
            assert self.surrogate is not None
            images, _ = self.surrogate(cell.attack, cell.protocol or SURROGATE_PROTOCOL, batch, groups)
        elif cell.attack is not None:
            images, attacked = self.attacker(cell.attack, cell.protocol or Protocol("paper"), batch, groups)
        same_path = cell.protocol is not None and cell.protocol.same_path
        predictions = self.predictions(images, attacked if same_path else None, batch, groups)
        right = predictions == batch.labels
        majority = most_frequent(predictions, self.classes) == batch.labels
        reported = right[0] if attacked is None else self._predict(images, attacked) == batch.labels
        distances = None
        if cell.attack is not None and not cell.attack.bounded:
            distances = (images - batch.images).flatten(1).norm(dim=1).double().cpu().numpy()
        return Outcome(*cell.key, right.T.cpu().numpy(), majority.cpu().numpy(), reported.cpu().numpy(), None, 0.0,
                       distances)

    def predictions(self, images: Tensor, path: Path | None, batch: Batch, groups: Groups) -> Tensor:
        """Predicted classes int64 [D, N]: on `path` if given, else on fresh draws from a stream of their own: those of
        an image, or of its path group, are the same for every attack, so that attacks compare on equal draws."""
        if path is None and not self.random:
            path = self.defence.space.sample(torch.Generator())  # the only one
        if path is not None:
            return self._predict(images, path)[None]
        draw, scored = self.attacker.drawer("scoring path", batch, groups), Kept(draws=[])
        for _ in resumable(range(self.keys.draws), scored):
            scored.draws.append(self._predict(images, draw(1)))
        return torch.stack(scored.draws)

    def _predict(self, images: Tensor, path: Path) -> Tensor:
        with torch.no_grad():
            logits = self.attacker.network.on(path)(images)
        check_logits(logits, len(images), self.classes)
        return logits.argmax(1)


def _nothing(cell: Cell, count: int, at_once: int) -> Kept:
    """The outcome of `count` images as it is built up: those that are not worked on count as broken."""
    none = np.zeros(count, dtype=bool)
    return Kept(done=none, correct=None, majority=none.copy(), reported=none.copy(), at_once=at_once,
                distances=None if cell.attack is None or cell.attack.bounded else np.zeros(count))


def _put(found: Kept, done: NDArray[np.int64], rows: NDArray[np.int64], part: Outcome) -> None:
    """Add the outcome of the images at `rows`; with it, those at `done` are."""
    if found.correct is None:
        found.correct = np.zeros((len(found.done), part.correct.shape[1]), dtype=bool)
    found.correct[rows], found.majority[rows], found.reported[rows] = part.correct, part.majority, part.reported
    if found.distances is not None and part.distances is not None:
        found.distances[rows] = part.distances
    found.done[done] = True


def most_frequent(predictions: Tensor, classes: int) -> Tensor:
    """The class predicted most often for each image, int64 [N] from [D, N]; of equals, the lower."""
    votes = torch.nn.functional.one_hot(predictions, classes).sum(0)
    return (votes * classes - torch.arange(classes, device=votes.device)).argmax(1)


def check_images(images: Tensor) -> None:
    """Raises NumericalError unless all pixels are in [0, 1]."""
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise NumericalError(f"images: pixels from {low:g} to {high:g}; expected [0, 1] (normalise inside the model)")
