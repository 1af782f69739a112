"""About how long a training or a study takes here, for this network: timed on a network like it and images of noise, so
that no weight, statistic or random stream of the real ones moves."""

from __future__ import annotations

import math

import torch

from rnabench.attack.estimators import frozen_parameters
from rnabench.data.batches import Batch
from rnabench.evaluation.batch import Attacker
from rnabench.evaluation.cost import Speed, speed
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.runtime.device import number_formats
from rnabench.runtime.rate import work_of
from rnabench.seeding import stream
from rnabench.settings.base import Precision
from rnabench.settings.deployment import AS_TRAINED, Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.training import OBJECTIVES, TrainingSettings

TIMED = {"cpu": 16, "cuda": 128}  # images at once, to time a pass
UPDATE = 1.5  # what a pass with the gradients of all weights takes, in passes with that of the images


def network_like(training: TrainingSettings, classes: int, device: torch.device, precision: Precision,
                 deployment: Deployment = AS_TRAINED) -> RandomizedClassifier:
    """An untrained network like the one that is trained, or that is used as `deployment` says, in evaluation mode."""
    model = build_model(training.arch, training.space, classes, training.width, layer_based=training.layer_based)
    model.precision = precision
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return deploy(model.eval(), deployment)


def network_speed(model: RandomizedClassifier, side: int, keys: EvaluationSettings, classes: int,
                  work: float = math.inf) -> Speed:
    """Of a network in evaluation mode on images of `side` pixels; `work` as in `speed`."""
    device = next(model.parameters()).device
    count = TIMED[device.type]
    noise = torch.rand(count, 3, side, side, generator=stream(0, "timing"))
    images = noise.to(device=device, memory_format=torch.channels_last)
    batch = Batch(images, torch.zeros(count, dtype=torch.int64, device=device), list(range(count)))
    with number_formats(keys.precision, device), frozen_parameters(model):
        return speed(Attacker(model, keys, classes), batch, work)


def training_flops(network: RandomizedClassifier, side: int, training: TrainingSettings) -> float:
    """Floating-point operations that an image of `side` pixels takes in a training step: a pass with the gradient of
    the image is two forward passes of them, one with those of image and weights three."""
    device = next(network.parameters()).device
    with torch.no_grad():
        # of a single image a network may have no statistics of the batch
        forward = work_of(lambda: network(torch.zeros(2, 3, side, side, device=device))).flops / 2
    return float(forward * (3 + 2 * (training.steps if OBJECTIVES[training.objective].attacks else 0)))


def training_passes(training: TrainingSettings, images: int, epochs: float) -> float:
    """Passes with a gradient that so many `epochs` of so many `images` (held-out ones with them) take."""
    attack = training.steps if OBJECTIVES[training.objective].attacks else 0
    return epochs * images * (attack + UPDATE)
