"""Native attacks beside their counterparts in torchattacks and pyautoattack: same images, same path, one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnabench.attack.attack import Attack, ready
from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.attack.libraries import View, by_torchattacks, guarded
from rnabench.attack.threat import Threat
from rnabench.attack.whole_batch import InBatches, WholeBatch
from rnabench.data.batches import Batch, BatchSource
from rnabench.defence.defence import Defence, batch_dependent
from rnabench.model.classifier import in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.runtime.device import number_formats
from rnabench.runtime.environment import device_description, git_revision, versions
from rnabench.runtime.progress import Progress
from rnabench.scoring.interval import wilson
from rnabench.seeding import ExampleStreams, derive, stream
from rnabench.settings.attacks import ATTACKS, AttackSpec, CrossCheck, Parameters, parse_attack, resolved

SAME = 1e-6  # images closer than this in every pixel are equal


def cases() -> dict[str, tuple[AttackSpec, CrossCheck]]:
    """What there is to compare, by name: what the attacks declare."""
    declared = [(kind, case) for kind, attack in ATTACKS.items() for case in vars(attack).get("crosschecks", ())]
    return {case.name: (parse_attack({"name": case.name, "kind": kind, **case.settings} if case.settings else
                                     case.name), case) for kind, case in declared}


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
            spec, case = cases()[name]
            batch = whole.part(0, case.images or len(whole.indices))
            network = InBatches(defence, len(batch.indices)) if batch_dependent(defence) else defence
            rows.append(_case(model, spec, case.library, OnePath(network, path), batch, classes, eps, seed))
            row = rows[-1]
            progress.line(f"{name}: native {row['native']['seconds_per_100']:.2f} s, {case.library} "
                          f"{row['library']['seconds_per_100']:.2f} s per 100 images")
    return {"path": str(path), "eps": eps, "seed": seed, "device": described_device,
            "versions": versions(), "git": git_revision(), "indices": whole.indices, "cases": rows}


def _case(model: nn.Module, spec: AttackSpec, library: str, estimator: OnePath, batch: Batch, classes: int, eps: float,
          seed: int) -> dict[str, Any]:
    name = spec.name
    attack, threat = ready(spec, "Linf", eps, eps / 4)
    images, labels = batch.images, batch.labels
    view = View(estimator.view, images.device)
    streams = ExampleStreams(seed, "crosscheck", name, indices=batch.indices)
    number = derive(seed, "crosscheck", name) % 2**31

    def native() -> Tensor:
        with frozen_parameters(model):
            if isinstance(attack, Attack):
                asked = WholeBatch(estimator, images) if isinstance(estimator.model, InBatches) else estimator
                uniform: Callable[..., Tensor] = lambda *shape: streams.uniform(*shape).to(images)  # noqa: E731
                return attack.run(asked, images, labels, uniform, threat)
            return attack.call(view, images, labels, threat, classes, number)

    def theirs() -> Tensor:
        if library == "torchattacks":
            return by_torchattacks(name, attack, view, images, labels, threat, classes, number)
        return _by_pyautoattack(attack, threat, view, images, labels, number)

    native_side, library_side = _side(native, estimator, batch), _side(theirs, estimator, batch)
    with torch.no_grad():
        clean = estimator.view(images).argmax(1) == labels
    both = clean & ~native_side.right & ~library_side.right
    apart = (native_side.images - library_side.images).abs().flatten(1).amax(1)
    return {
        "case": name, "parameters": resolved(spec, eps, eps / 4),
        "library": {"name": library, **_summary(library_side, clean, both)},
        "native": _summary(native_side, clean, both), "images": len(labels), "clean": float(clean.float().mean()),
        "same_images": float((apart <= SAME).float().mean()),
        "different_pixels": float(((native_side.images - library_side.images).abs() > SAME).float().mean()),
        "same_outcomes": float((native_side.right == library_side.right).float().mean()),
        "times_faster": library_side.seconds / native_side.seconds,
    }


def _by_pyautoattack(attack: Parameters, threat: Threat, view: nn.Module, images: Tensor, labels: Tensor, seed: int
                     ) -> Tensor:
    """pyautoattack as its documentation calls it, without our adapter: all of it, or the part that an attack names."""
    import pyautoattack

    with guarded(seed):
        runner: Any = pyautoattack.AutoAttack(view, norm=threat.norm, eps=threat.eps, device=images.device, seed=seed,
                                              version="standard")
        if (part := attack.pyautoattack()) is None:
            found, _ = runner.run_standard_evaluation(images.contiguous(), labels, batch_size=len(images))
            return torch.as_tensor(found)
        theirs = getattr(runner, part[0])
        for option, value in {"seed": seed, **part[1]}.items():
            setattr(theirs, option, value)
        return torch.as_tensor(theirs.perturb(images.contiguous(), labels))


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
