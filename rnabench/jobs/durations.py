"""About how long a training or a study takes here, for this network: timed on a network like it and images of noise, so
that no weight, statistic or random stream of the real ones moves."""

from __future__ import annotations

import math
from itertools import chain

import torch

from rnabench.attack.estimators import frozen_parameters
from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.cost import Speed, speed
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.defences.smoothing import one_draw
from rnabench.model.deployment import deploy
from rnabench.model.factory import build_model
from rnabench.path.space import PathSpace
from rnabench.runtime.device import number_formats
from rnabench.runtime.rate import work_of
from rnabench.seeding import stream
from rnabench.settings.base import Precision
from rnabench.settings.deployment import AS_TRAINED, Deployment
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.studies import Probing, Study
from rnabench.settings.training import OBJECTIVES, TrainingSettings

TIMED = {"cpu": 16, "cuda": 128}  # images at once, to time a pass


def network_like(training: TrainingSettings, classes: int, device: torch.device, precision: Precision,
                 deployment: Deployment = AS_TRAINED) -> RandomizedClassifier:
    """An untrained network like the one that is trained, or that is used as `deployment` says, in evaluation mode."""
    model = build_model(**training.network, num_classes=classes)
    model.precision = precision
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return deploy(model.eval(), deployment)


def network_speed(model: Classifier, side: int, keys: EvaluationSettings, classes: int,
                  work: float = math.inf) -> Speed:
    """Of a network in evaluation mode on images of `side` pixels; `work` as in `speed`."""
    device = next(chain(model.parameters(), model.buffers()), torch.empty(0)).device
    count = TIMED[device.type]
    noise = torch.rand(count, 3, side, side, generator=stream(0, "timing"))
    images = noise.to(device=device, memory_format=torch.channels_last)
    batch = Batch(images, torch.zeros(count, dtype=torch.int64, device=device), list(range(count)))
    with number_formats(keys.precision, device), frozen_parameters(model):
        return speed(Attacker(model, keys, classes), batch, work)


PASS = 2  # forward passes of arithmetic in a pass with the gradient of the images


def training_flops(network: RandomizedClassifier, side: int, training: TrainingSettings,
                   teacher: RandomizedClassifier | None = None) -> float:
    """Floating-point operations that an image of `side` pixels takes in a training step: those of the objective, of the
    attack, and of the teacher's forward pass if there is one."""
    objective = OBJECTIVES[training.objective]
    attack = PASS * training.steps if objective.attacks else 0
    taught = _forward_flops(teacher, side) if teacher is not None else 0
    with one_draw(network):
        once = _forward_flops(network, side)
    return float(once * (objective.cost(training) + attack) + taught)


def _forward_flops(network: RandomizedClassifier, side: int) -> int:
    device = next(network.parameters()).device
    with torch.no_grad():
        # of a single image a network may have no statistics of the batch
        return work_of(lambda: network(torch.zeros(2, 3, side, side, device=device))).flops // 2


def training_passes(training: TrainingSettings, images: int, epochs: float) -> float:
    """Passes with the gradient of the images that so many `epochs` of so many `images` (held-out ones with them) take;
    a teacher is taken to be as large as the network."""
    objective = OBJECTIVES[training.objective]
    attack = training.steps if objective.attacks else 0
    step = float(objective.cost(training)) + bool(training.teacher)
    return epochs * images * (attack + step / PASS)


def study_passes(study: Study, model: Classifier, models: int, classes: int, images: int, training: int
                 ) -> tuple[float, float]:
    """Passes with a gradient and without that a study of so many models takes of this one, with so many test images
    and, if it trains classifiers, `training` images."""
    space = model.space
    layers = len(space.layers) if isinstance(space, PathSpace) else int(space.is_random)
    gradients, forwards = (images * each for each in study.passes(layers, models, classes))
    if isinstance(study, Probing):
        more, further = study.training_passes()
        gradients, forwards = gradients + training * more, forwards + training * further
    return gradients, forwards
