"""How often a network predicts each class under the Gaussian noise at its input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rnabench.attack.resumable import Kept, remember, resumable
from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.errors import InvalidValue
from rnabench.model.defences.noise import InputNoise
from rnabench.model.defences.smoothing import one_draw
from rnabench.seeding import ExampleStreams
from rnabench.studies.measure.work import Arrays, Work

AT_ONCE = {"cpu": 64}  # images in a pass
USUAL_AT_ONCE = 1024


def sigma_of(label: str, network: Classifier) -> float:
    """The deviation of the noise at the input, in pixel units. Raises InvalidValue for a network that has none, or
    whose predictions depend on batch mates."""
    noises = [module for module in network.modules() if isinstance(module, InputNoise)]
    if len(noises) != 1:
        raise InvalidValue("RUN", label, "a network with Gaussian noise at its input, once, as those of --defence "
                           "smoothing, input-noise or rse are")
    if network.batch_dependent:
        raise InvalidValue("RUN", label, "a network whose predictions do not depend on the images' batch mates")
    return noises[0].sigma


def class_counts(network: Classifier, classes: int, first_draws: int, draws: int, seed: int, work: Work,
                 name: str) -> Arrays:
    """Of every image how many of its own draws predict each class, [N, classes]: `first` and, of other draws, `counts`;
    and its `labels`. What else the network draws is drawn along: the theorem holds for a base classifier that draws."""
    def on_batch(batch: Batch, first: int) -> Arrays:
        def counted(purpose: str, draws: int) -> Tensor:
            images, device = batch.images, batch.images.device
            streams = ExampleStreams(seed, purpose, indices=batch.indices, device=device)
            together = max(1, AT_ONCE.get(device.type, USUAL_AT_ONCE) // len(images))
            remember(streams, "drawn")
            found = Kept(counts=torch.zeros(len(images), classes, dtype=torch.int64, device=device))
            for done in resumable(range(0, draws, together), found):
                repeats = min(together, draws - done)
                path = network.space.sample_each(streams, repeats)
                predicted = network.on(path)(images.repeat(repeats, 1, 1, 1)).argmax(1)
                found.counts += torch.nn.functional.one_hot(predicted.view(repeats, -1), classes).sum(0)
            counts: Tensor = found.counts
            return counts

        with torch.no_grad(), one_draw(network):
            first_counts, counts = (counted(f"certification, {purpose}", number)
                                    for purpose, number in (("guess", first_draws), ("bound", draws)))
        return {"first": first_counts.cpu().numpy(), "counts": counts.cpu().numpy(),
                "labels": batch.labels.cpu().numpy()}

    return {key: array.astype(np.int64) for key, array in work(name, on_batch).items()}
