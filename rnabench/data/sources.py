"""What a run reads: the training and held-out parts of a training set, and the examples of a test set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rnabench.data.batches import BatchSource, ResidentSource
from rnabench.data.dataset import ImageSet, load_images, subset
from rnabench.data.registry import dataset_info
from rnabench.errors import InvalidValue
from rnabench.seeding import stream

IMAGENET_STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PUBLISHED_STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": IMAGENET_STATISTICS,
}


@dataclass(frozen=True)
class DataRequest:
    """Where a data set is found: the options --dataset, --data-dir, --dataset-name, --download."""

    dataset: str
    data_dir: Path | None = None
    dataset_name: str | None = None
    download: bool = False

    @property
    def title(self) -> str:
        """What results call it."""
        return self.dataset_name or self.dataset


@dataclass(frozen=True)
class TrainingData:
    """`train` is augmented, `holdout` never trained on; `mean`, `std` are for the model's input normalisation."""

    train: BatchSource
    holdout: BatchSource
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str


@dataclass(frozen=True)
class EvaluationData:
    """The test examples, in the data set's order."""

    source: BatchSource
    name: str
    classes: tuple[str, ...]
    fingerprint: str


def training_data(request: DataRequest, n_train: int | None, n_holdout: int | None, seed: int, device: torch.device,
                  augment: bool = True) -> TrainingData:
    """Split a training set: `n_holdout` examples drawn to select and watch by (default: a tenth, at most 1,000),
    `n_train` of the rest to train on (default: all).

    Raises InvalidValue if the data set has too few, DataUnavailable if it is not there.
    """
    if _streams(request):
        from rnabench.data.streaming import StreamingSource

        everything = StreamingSource(_folder(request), "train", device)
        train, held = _positions(len(everything), n_train, n_holdout, seed)
        parts = [StreamingSource(_folder(request), "train", device, positions=rows.tolist()) for rows in (train, held)]
        return TrainingData(parts[0], parts[1], everything.classes, *IMAGENET_STATISTICS,
                            _fingerprint(everything.classes, train))
    images = load_images(request.dataset, "train", request.data_dir, request.title, request.download)
    train, held = _positions(len(images), n_train, n_holdout, seed)
    chosen = images.take(train)
    mean, std = PUBLISHED_STATISTICS.get(request.dataset) or chosen.statistics()
    return TrainingData(
        ResidentSource(chosen, device, augment), ResidentSource(images.take(held), device), images.classes, mean, std,
        chosen.fingerprint(),
    )


def evaluation_data(request: DataRequest, n_examples: int | None, device: torch.device) -> EvaluationData:
    """The first `n_examples` test examples, or a fixed random choice of them where the files come class by class."""
    if n_examples is not None and n_examples < 1:
        raise InvalidValue("n-examples", n_examples, "at least 1")
    if _streams(request):
        from rnabench.data.streaming import StreamingSource

        everything = StreamingSource(_folder(request), "test", device)
        rows, _ = _positions(len(everything), n_examples, 0, 0)
        source = StreamingSource(_folder(request), "test", device, positions=rows.tolist())
        return EvaluationData(source, request.title, everything.classes, _fingerprint(everything.classes, rows))
    images = load_images(request.dataset, "test", request.data_dir, request.title, request.download)
    chosen = _first(images, n_examples)
    return EvaluationData(ResidentSource(chosen, device), request.title, images.classes, chosen.fingerprint())


def _streams(request: DataRequest) -> bool:
    return dataset_info(request.dataset).size == 224


def _folder(request: DataRequest) -> Path:
    if request.data_dir is None:
        raise InvalidValue("data-dir", None, f"the folder that holds {request.dataset!r}")
    return request.data_dir


def _positions(
    total: int, n_train: int | None, n_holdout: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if n_holdout is None:
        n_holdout = min(1000, total // 10)
    wanted = n_train if n_train is not None else max(total - n_holdout, 1)
    if wanted + n_holdout > total:
        raise InvalidValue("n-train", wanted, f"at most {total - n_holdout} ({total} images less {n_holdout} held out)")
    order = torch.randperm(total, generator=stream(seed, "held-out part")).numpy()
    return np.sort(order[n_holdout : n_holdout + wanted]), np.sort(order[:n_holdout])


def _first(images: ImageSet, count: int | None) -> ImageSet:
    if count is None or count >= len(images):
        return images
    by_class = bool((np.diff(images.labels) >= 0).all())
    return subset(images, count, seed=0) if by_class else images.take(slice(0, count))


def _fingerprint(classes: tuple[str, ...], rows: NDArray[np.int64]) -> str:
    return hashlib.sha256("/".join([*classes, *map(str, rows.tolist())]).encode()).hexdigest()[:16]
