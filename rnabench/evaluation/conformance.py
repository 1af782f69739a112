"""Whether anybody's network can be judged, and what has to be known to judge it: a list of small checks.

A check is a function of a `Candidate` that returns a status and a text with the numbers that decided. PASS: nothing is
in the way; WARN: numbers have to be read with it in mind; FAIL: numbers would be wrong, or some cannot be made; n/a:
what cannot be measured, and why. To add one: write it here, under `@check` with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.losses import margin
from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier, ForeignModel
from rnabench.defence.weights import tensors_of
from rnabench.errors import ModelError
from rnabench.evaluation.cost import timed
from rnabench.evaluation.diagnosis import Diagnosis, Statistics, diagnose
from rnabench.evaluation.watching import watched
from rnabench.path.path import Path
from rnabench.scoring.flag import Status
from rnabench.scoring.interval import wilson
from rnabench.scoring.model_checks import FEW, LOSS_NAMES, normalisation
from rnabench.scoring.outcome import from_bits
from rnabench.seeding import ExampleStreams, stream

Verdict = tuple[Status, str]


@dataclass(frozen=True)
class Finding:
    """What a check says."""

    check: str
    status: Status
    text: str


@dataclass(frozen=True)
class Candidate:
    """A network as it was imported, as what is attacked, what was seen of it, and labelled images in [0, 1] of the data
    set that it is for, with the `statistics` of that."""

    network: nn.Module
    classifier: Classifier
    seen: ForeignModel
    batch: Batch
    classes: int
    statistics: Statistics
    seed: int = 0

    @property
    def images(self) -> Tensor:
        return self.batch.images

    def path(self, name: str = "conformance") -> Path:
        """A draw, for all images."""
        return self.seen.space.sample(stream(self.seed, name))

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return diagnose(self.seen, self.path(), [self.batch], self.seen.training, [], self.statistics)


Check = Callable[[Candidate], Verdict]
CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Registers a check by its name; they run in the order in which they stand here."""
    def add(function: Check) -> Check:
        CHECKS[name] = function
        return function
    return add


def conformance(candidate: Candidate) -> list[Finding]:
    """What all checks say of a network in evaluation mode."""
    with frozen_parameters(candidate.network):
        return [Finding(name, *function(candidate)) for name, function in CHECKS.items()]


@check("input")
def takes_unit_interval(candidate: Candidate) -> Verdict:
    """It wants pixels in [0, 1], and normalises them itself, once."""
    flag = normalisation(asdict(candidate.diagnosis))
    right = from_bits(candidate.diagnosis.normalisation["given"])
    if flag.status == "PASS" and wilson(float(right.mean()), len(right))[0] <= 1 / candidate.classes:
        return "WARN", f"about chance, which says little: {flag.text}"
    return flag.status, flag.text


@check("output")
def returns_logits(candidate: Candidate) -> Verdict:
    """It returns logits, and no probabilities, whose gradients vanish where it is sure."""
    with torch.no_grad():
        logits = candidate.seen.on(candidate.path())(candidate.images)
    odd = float((~logits.isfinite().all(1)).float().mean())
    if odd:
        return "FAIL", f"not finite (NaN or infinity) for {100 * odd:.0f} % of {len(logits)} images"
    values = f"from {float(logits.min()):.3g} to {float(logits.max()):.3g}"
    if candidate.diagnosis.probabilities:
        return "FAIL", f"probabilities, not logits: each image's outputs add up to 1 ({values})"
    return "PASS", f"logits, {values}"


@check("randomness")
def says_where_it_draws_from(candidate: Candidate) -> Verdict:
    """Deterministic, or random from a source that is known."""
    if not candidate.seen.space.is_random:
        return "PASS", "deterministic"
    views = [candidate.seen.on(candidate.path(name)) for name in ("one draw", "another draw")]
    with torch.no_grad():
        first, second = (view(candidate.images).argmax(1) for view in views)
    changed = float((first != second).float().mean())
    return "PASS", (f"random, from {', '.join(candidate.seen.sources)}; another draw changes {100 * changed:.0f} % of "
                    "the predictions")


AGAIN = 10  # forwards: what a network keeps from call to call may show only now and then


@check("replay")
def comes_again(candidate: Candidate) -> Verdict:
    """A draw can be frozen: the same path is the same network, with and without gradients."""
    if not candidate.seen.replayable:
        return "FAIL", ("the same seeds give other logits: no draw can be frozen, protocols paper and same-path are "
                        "refused, and no number comes again")
    view = candidate.seen.on(candidate.path())
    with torch.no_grad():
        first, *others = (view(candidate.images) for _ in range(AGAIN))
    change = max(float((other - first).abs().max()) for other in others)
    if change > 1e-3 * float(first.abs().max()):
        return "FAIL", f"on one path, logits differ by up to {change:.2g} between {AGAIN} forwards"
    change = float((view(candidate.images.detach().requires_grad_()).detach() - first).abs().max())
    if change > 1e-3 * float(first.abs().max()):
        return "FAIL", f"on one path, logits differ by up to {change:.2g} when a gradient is asked for"
    return "PASS", f"the same path gives the same logits (largest difference {change:.2g})"


@check("state")
def stays_as_it_is(candidate: Candidate) -> Verdict:
    """A forward in evaluation mode changes no buffer and no weight, and stays in it."""
    before = {name: tensor.clone() for name, tensor in tensors_of(candidate.network).items()}
    with torch.no_grad():
        candidate.seen.on(candidate.path())(candidate.images)
    changed = [name for name, tensor in tensors_of(candidate.network).items() if not torch.equal(tensor, before[name])]
    if changed:
        return "FAIL", f"a forward in evaluation mode changes {', '.join(changed[:3])}"
    if in_training := [name or type(module).__name__ for name, module in candidate.network.named_modules()
                       if module.training]:
        return "WARN", f"a forward puts {len(in_training)} modules into training mode: {', '.join(in_training[:3])}"
    return "PASS", f"a forward leaves all {len(before)} tensors as they are"


@check("gradient")
def has_gradients(candidate: Candidate) -> Verdict:
    """Gradients reach the images, and are finite and not zero."""
    if not candidate.seen.differentiable:
        return "FAIL", "none reaches the images: attacks that follow it say nothing"
    gradient = OnePath(candidate.seen, candidate.path()).gradient(candidate.images, candidate.batch.labels, margin)
    odd = float((~gradient.isfinite().flatten(1).all(1)).float().mean())
    if odd:
        return "FAIL", f"not finite (NaN or infinity) for {100 * odd:.0f} % of {len(gradient)} images"
    shares = candidate.diagnosis.zero_gradients
    if not any(shares.values()):
        return "PASS", f"finite, and zero for none of {len(gradient)} images"
    said = ", ".join(f"{100 * share:.0f} % ({LOSS_NAMES[loss]})" for loss, share in shares.items())
    status: Status = "FAIL" if min(shares.values()) > FEW else "WARN"
    return status, f"exactly zero for so many of {len(gradient)} images: {said}"


STEP = 0.5 / 255  # each way, which no eye and no 8-bit image sees
INSIDE = 0.9  # of the range of pixels, so that a step leaves it nowhere
FACTOR = 3.0  # of change over slope, either way: what curvature and corners make of it on honest networks


@check("slope")
def slope_is_that_of_the_loss(candidate: Candidate) -> Verdict:
    """The gradient says how the loss changes. Where it does not, it is masked (or replaced by one that helps)."""
    if not candidate.seen.replayable or not candidate.seen.differentiable:
        return "n/a", "needs a draw that can be frozen and a gradient"
    view, labels = candidate.seen.on(candidate.path()), candidate.batch.labels
    images = 0.5 + INSIDE * (candidate.images - 0.5)
    gradient = OnePath(candidate.seen, candidate.path()).gradient(images, labels, margin)
    with torch.no_grad():
        ahead, behind = (margin(view(images + way * STEP * gradient.sign()).float(), labels) for way in (1, -1))
    said = 2 * STEP * gradient.flatten(1).abs().sum(1)
    usable = said.isfinite() & (said > 1e-4 * (ahead.abs() + behind.abs()))  # above rounding
    if not bool(usable.any()):
        return "n/a", "no image has a gradient that is above rounding"
    ratio = float(((ahead - behind)[usable] / said[usable]).median())
    text = (f"along its sign, the loss changes by {ratio:.2f} of what the gradient says (median of "
            f"{int(usable.sum())} images, {255 * STEP:g}/255 each way)")
    if not 1 / FACTOR <= ratio <= FACTOR:
        return "WARN", f"{text}: a sign of masked gradients"
    return "PASS", text


@check("forward")
def asks_for_no_gradient_inside(candidate: Candidate) -> Verdict:
    """A forward that follows gradients, or trains, is a dynamic defence: attacks do not see through it."""
    with watched(candidate.network) as inside, torch.enable_grad():
        candidate.seen.on(candidate.path())(candidate.images.detach().requires_grad_())
    if inside.gradients or inside.steps:
        return "WARN", (f"a dynamic defence: {inside.gradients} gradient calls and {inside.steps} optimiser steps in a "
                        "forward, through which attacks that follow gradients hardly see")
    return "PASS", "no gradient call and no optimiser step in a forward"


@check("batch")
def predicts_each_image_by_itself(candidate: Candidate) -> Verdict:
    """An image's logits do not depend on the others of its batch, and batches may have any size."""
    for images in (candidate.images[:1], candidate.images[:-1]):
        try:
            with torch.no_grad():
                candidate.seen.on(candidate.path())(images)
        except ModelError as error:
            return "FAIL", str(error).removeprefix("model: ")
    if not candidate.seen.replayable:
        return "n/a", "draws that no seed fixes hide it"
    if candidate.seen.batch_dependent:
        return "WARN", "an image alone has other logits than among others: batches stay whole, and --batch-size counts"
    return "PASS", "an image has the same logits alone and among others"


@check("draws")
def draws_per_image(candidate: Candidate) -> Verdict:
    """Each image can have a draw of its own (--granularity sample), or one serves a batch."""
    space, images = candidate.classifier.space, candidate.images
    if not space.is_random:
        return "n/a", "deterministic"
    if not space.takes_rows:
        return "PASS", "one for a whole batch; --granularity sample is refused"
    path = space.sample_each(ExampleStreams(candidate.seed, "conformance", indices=range(len(images))))
    backwards = torch.arange(len(images) - 1, -1, -1, device=images.device)
    with torch.no_grad():
        forth = candidate.classifier.on(path)(images)
        back = candidate.classifier.on(path.take(backwards))(images[backwards])
    change = float((forth[backwards] - back).abs().max())
    if change > 1e-3 * float(forth.abs().max()):
        return "FAIL", f"an image does not keep its draw at another place of the batch: logits differ by {change:.2g}"
    return "PASS", f"one for each image, at whatever place of the batch (largest difference {change:.2g})"


@check("cost")
def costs(candidate: Candidate) -> Verdict:
    """Time, and how many passes a forward is."""
    view, images = candidate.seen.on(candidate.path()), candidate.images
    slope = OnePath(candidate.seen, candidate.path())

    def forward() -> None:
        with torch.no_grad():
            view(images)

    on_cuda = images.device.type == "cuda"
    seconds, _ = timed(forward, on_cuda)
    with_gradient, _ = timed(lambda: slope.gradient(images, candidate.batch.labels, margin), on_cuda)
    with watched(candidate.network) as inside:
        forward()
    passes = ("passes cannot be counted: no layer has weights" if not inside.passes else
              f"an image goes {inside.passes / len(images):.3g} times through the busiest layer")
    return "PASS", (f"{1000 * seconds / len(images):.2g} ms an image, {1000 * with_gradient / len(images):.2g} with "
                    f"the gradient; {passes}")
