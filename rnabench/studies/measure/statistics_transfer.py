"""Whose statistics a frozen network normalises by on another data set: the arms of the comparison, measured."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnabench.data.batches import BatchSource
from rnabench.defence.foreign import Classifier
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.features import without_classifier
from rnabench.norm.population import batch_norms, population_statistics, set_statistics
from rnabench.scoring.interval import Bits
from rnabench.settings.studies import Probing
from rnabench.studies.measure.probe import Features, Probe, Seen, features, train_probe
from rnabench.studies.measure.work import Arrays, Work


@dataclass(frozen=True)
class Measured:
    """One arm of one network: `right` [N test images], `curve` [epochs, 3] as `train_probe` returns it, and how many
    parameters were `trained`."""

    right: Bits
    curve: Any
    trained: int


def statistics_batches(source: BatchSource, batch_size: int, seed: int) -> Iterator[Tensor]:
    """All images once, mixed, in batches of `batch_size`, or the next larger size that leaves no image alone: a batch
    of one may have no variance."""
    size = next(size for size in count(batch_size) if len(source) % size != 1)
    for batch in source.shuffled(size, seed, 0, drop_last=False):
        yield batch.images


def arm_network(backbone: nn.Module, statistics: Mapping[str, Tensor] | None, affine: bool
                ) -> tuple[nn.Module, list[nn.Parameter]]:
    """A copy of a frozen network in evaluation mode with these statistics, or those it has (None), and the parameters
    of it that are trained: scale and shift of its batch normalisations if `affine`, else none."""
    network = copy.deepcopy(backbone)
    if statistics is not None:
        set_statistics(network, statistics)
    parameters = [parameter for layer in batch_norms(network).values() for parameter in layer.parameters()]
    return network, parameters if affine else []


class NetworkArms:
    """The arms of one network; what several of them need is made once.

    Raises InvalidValue for a network that does not end with a linear classifier, or not take images of this size.
    """

    def __init__(self, label: str, model: Classifier, classes: int, how: Probing, work: Work) -> None:
        assert work.training is not None
        assert isinstance(model, RandomizedClassifier), "a study that trains classifiers takes trained networks only"
        self.label, self.classes, self.how, self.work, self.training = label, classes, how, work, work.training
        self.backbone, self.width = without_classifier(label, model, next(work.source.in_order(1)).images)

    def measure(self, name: str) -> Measured:
        """One arm; one that the journal has is not trained again."""
        title, changed = f"{self.label}: {name}", name.split("+")
        statistics = self._statistics() if "recomputed" in changed else None
        network, tuned = arm_network(self.backbone, statistics, "affine" in changed)
        found = self.work.once(title, lambda: self._train(title, network, tuned))
        trained = sum(each.numel() for each in tuned) + (self.width + 1) * self.classes
        return Measured(found["right"], found["curve"], trained)

    def _statistics(self) -> dict[str, Tensor]:
        def compute() -> Arrays:
            batches = self._stoppable(statistics_batches(self.training.plain, self.how.batch_size, self.how.seed))
            found = population_statistics(self.backbone, batches)
            return {name: values.cpu().numpy() for name, values in found.items()}

        arrays = self.work.once(f"{self.label}: statistics of the training images", compute)
        return {name: torch.from_numpy(np.asarray(values)) for name, values in arrays.items()}

    def _stoppable(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        for images in batches:
            if self.work.stop:
                raise self.work.stop.stopped(f"{self.label}: statistics of the training images")
            yield images

    def _train(self, title: str, network: nn.Module, tuned: list[nn.Parameter]) -> Arrays:
        if tuned:  # all images go through the network in every epoch
            training, test = Seen(self.training.augmented, network), Seen(self.work.source, network)
        else:
            test = Seen(self._features(title, network, self.work.source, "test"), nn.Identity())
            training = (Seen(self.training.augmented, network) if self.how.augment else
                        Seen(self._features(title, network, self.training.plain, "training"), nn.Identity()))
        probe = Probe(self.width, self.classes, tuned, self.how, next(network.buffers()).device)
        return train_probe(probe, training, test, self.work, title)

    def _features(self, title: str, network: nn.Module, source: BatchSource, which: str) -> Features:
        return features(network, source, self.work, f"{title}, features of {which} images")
