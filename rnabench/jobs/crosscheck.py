"""Native attacks beside their counterparts in torchattacks and pyautoattack: same images, same path, one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnabench.attack.autoattack import autoattack
from rnabench.attack.build import build
from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.library import View, guarded
from rnabench.attack.torchattacks import torchattacks_attack
from rnabench.data.batches import Batch, BatchSource
from rnabench.evaluation.defence import Defence
from rnabench.model.mode import in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.runtime.device import number_formats
from rnabench.runtime.environment import device_description, git_revision, versions
from rnabench.runtime.progress import Progress
from rnabench.scoring.interval import wilson
from rnabench.seeding import ExampleStreams, derive, stream
from rnabench.settings.attacks import parse_attack, resolved

SAME = 1e-6  # images closer than this in every pixel are equal

CASES: dict[str, tuple[dict[str, Any], str, int | None]] = {
    # name: the attack, its library, and a limit on the number of images (slow ones)
    "fgsm": ({"kind": "fgsm"}, "torchattacks", None),
    "bim10": ({"kind": "bim", "steps": 10}, "torchattacks", None),
    "mifgsm": ({"kind": "mifgsm"}, "torchattacks", None),
    "pgd20": ({"kind": "pgd", "steps": 20}, "torchattacks", None),
    "apgd-ce": ({"kind": "apgd", "loss": "ce"}, "pyautoattack", 100),
    "apgd-dlr": ({"kind": "apgd", "loss": "dlr"}, "pyautoattack", 100),
    "apgd-t": ({"kind": "apgd", "loss": "t"}, "pyautoattack", 32),
    "square1000": ({"kind": "square", "queries": 1000}, "pyautoattack", 100),
    "cw-c10": ({"kind": "cw", "c": 10.0, "steps": 1000}, "torchattacks", None),
    "deepfool": ({"kind": "deepfool"}, "torchattacks", None),
    "autoattack": ({"kind": "autoattack"}, "pyautoattack", 16),
}


@dataclass(frozen=True)
class Side:
    """What one implementation did: [N] right after the attack, Euclidean change, seconds."""

    images: Tensor
    right: Tensor
    lengths: Tensor
    seconds: float


def crosscheck(model: nn.Module, defence: Defence, source: BatchSource, classes: int, eps: float, names: list[str],
               seed: int, progress: Progress) -> dict[str, Any]:
    """Run every case on all of `source` at once, on one path drawn from the seed.

    The libraries are called as their documentation shows: on a network whose parameters ask for gradients, as they do
    after loading. Both sides get channels-last images and the network in evaluation mode.

    The result has, for each case, the accuracies with intervals, on how many images both agree, median changes over
    the images that both had to move and did fool, seconds per 100 images, and their ratio within this run.
    """
    whole = next(source.in_order(len(source)))
    path = defence.space.sample(stream(seed, "crosscheck path"))
    rows = []
    device = whole.images.device
    with number_formats("fp32", device), in_mode(model, training=False), frozen_statistics(model):
        described_device = device_description(str(device))
        OnePath(defence, path).gradient(whole.images, whole.labels)  # warm-up
        for name in names:
            described, library, limit = CASES[name]
            batch = whole.part(0, limit or len(whole.indices))
            rows.append(_case(model, name, described, library, OnePath(defence, path), batch, classes, eps, seed))
            row = rows[-1]
            progress.line(f"{name}: native {row['native']['seconds_per_100']:.2f} s, {library} "
                          f"{row['library']['seconds_per_100']:.2f} s per 100 images")
    return {"path": str(path), "eps": eps, "seed": seed, "device": described_device,
            "versions": versions(), "git": git_revision(), "indices": whole.indices, "cases": rows}


def _case(model: nn.Module, name: str, described: dict[str, Any], library: str, estimator: OnePath, batch: Batch,
          classes: int, eps: float, seed: int) -> dict[str, Any]:
    spec = parse_attack({"name": name, **described})
    values = resolved(spec, eps, eps / 4)
    images, labels = batch.images, batch.labels
    view = View(estimator.view, images.device)
    streams = ExampleStreams(seed, "crosscheck", name, indices=batch.indices)
    number = derive(seed, "crosscheck", name) % 2**31

    def native() -> Tensor:
        with frozen_parameters(model):
            if spec.kind == "autoattack":
                return autoattack(view, images, labels, "Linf", eps, classes, number)
            uniform: Callable[..., Tensor] = lambda *shape: streams.uniform(*shape).to(images)  # noqa: E731
            return build(name, "Linf", values)(estimator, images, labels, uniform)

    def theirs() -> Tensor:
        if library == "torchattacks":
            return torchattacks_attack(name, view, images, labels, "Linf", classes, values, number)
        return _by_hand(spec.kind, values, view, images, labels, classes, number)

    native_side, library_side = _side(native, estimator, batch), _side(theirs, estimator, batch)
    with torch.no_grad():
        clean = estimator.view(images).argmax(1) == labels
    both = clean & ~native_side.right & ~library_side.right
    apart = (native_side.images - library_side.images).abs().flatten(1).amax(1)
    return {
        "case": name, "parameters": values, "library": {"name": library, **_summary(library_side, clean, both)},
        "native": _summary(native_side, clean, both), "images": len(labels), "clean": float(clean.float().mean()),
        "same_images": float((apart <= SAME).float().mean()),
        "different_pixels": float(((native_side.images - library_side.images).abs() > SAME).float().mean()),
        "same_outcomes": float((native_side.right == library_side.right).float().mean()),
        "times_faster": library_side.seconds / native_side.seconds,
    }


def _by_hand(kind: str, values: dict[str, Any], view: nn.Module, images: Tensor, labels: Tensor, classes: int,
             seed: int) -> Tensor:
    """pyautoattack as its documentation calls it, without our adapter."""
    import pyautoattack

    with guarded(seed):
        runner: Any = pyautoattack.AutoAttack(view, norm="Linf", eps=values["eps"], device=images.device, seed=seed,
                                              version="standard")
        if kind == "autoattack":
            found, _ = runner.run_standard_evaluation(images.contiguous(), labels, batch_size=len(images))
            return torch.as_tensor(found)
        runner.apgd.seed = runner.apgd_targeted.seed = runner.square.seed = seed
        if kind == "square":
            runner.square.n_queries = values["queries"]
            return torch.as_tensor(runner.square.perturb(images.contiguous(), labels))
        if values["loss"] == "t":
            return torch.as_tensor(runner.apgd_targeted.perturb(images.contiguous(), labels))
        runner.apgd.loss = values["loss"]
        return torch.as_tensor(runner.apgd.perturb(images.contiguous(), labels))


def _side(attack: Callable[[], Tensor], estimator: OnePath, batch: Batch) -> Side:
    started = time.perf_counter()
    images = attack().detach()
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        right = estimator.view(images).argmax(1) == batch.labels
    return Side(images, right, (images - batch.images).flatten(1).norm(dim=1), seconds)


def _summary(side: Side, clean: Tensor, both: Tensor) -> dict[str, Any]:
    count = len(side.right)
    share = float(side.right.float().mean())
    return {
        "accuracy": share, "interval95": list(wilson(share, count)),
        "success": float((clean & ~side.right).sum() / clean.sum().clamp_min(1)),
        "median_l2": float(side.lengths[both].median()) if bool(both.any()) else None,
        "seconds_per_100": 100 * side.seconds / count,
    }
