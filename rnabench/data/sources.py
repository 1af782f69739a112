"""What a run reads: the training and held-out parts of a training set, and the examples of a test set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnabench.data.batches import BatchSource, ResidentSource
from rnabench.data.corrupt import corrupt_set
from rnabench.data.images import ImageSet
from rnabench.data.streaming import ImageFiles, StreamingSource
from rnabench.errors import InvalidValue
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.seeding import stream
from rnabench.settings.base import chosen_indices
from rnabench.settings.corruptions import Corrupted
from rnabench.settings.datasets import DATASETS, DataSettings, Split, published_statistics

Images = ImageSet | ImageFiles


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
class ProbeData:
    """The training images of a data set for a classifier on a frozen network: `plain`, and `augmented` in what is
    shuffled (without augmentation the same source)."""

    plain: BatchSource
    augmented: BatchSource
    fingerprint: str


@dataclass(frozen=True)
class EvaluationData:
    """The test examples, in the order in which they are attacked; `mean`, `std` by channel: those published for the
    data set, else the examples' own. `training`: its training images, where a study trains on them."""

    source: BatchSource
    name: str
    classes: tuple[str, ...]
    fingerprint: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    training: ProbeData | None = None


def training_data(keys: DataSettings, n_train: int | None, n_holdout: int | None, seed: int, device: torch.device,
                  augment: bool = True, statistics: str | None = None, ranks: Ranks = ALONE) -> TrainingData:
    """Split a training set: `n_holdout` examples drawn to select and watch by (default: a tenth, at most 1,000),
    `n_train` of the rest to train on (default: all). `statistics` names the data set whose published mean and
    deviation are taken (default: its own, published or computed). `ranks` share what is trained on.

    Raises InvalidValue if the data set has too few, DataUnavailable if it is not there.
    """
    dataset, images = DATASETS[keys.dataset], load_images(keys, "train")
    train, held = _positions(len(images), n_train, n_holdout, seed)
    chosen = images.take(train)
    mean, std = (published_statistics(statistics) if statistics else dataset.statistics) or chosen.statistics()
    return TrainingData(_source(chosen, device, augment, dataset.flip, ranks), _source(images.take(held), device),
                        images.classes, mean, std, chosen.fingerprint())


def probe_data(keys: DataSettings, test: EvaluationData, n_train: int | None, seed: int, device: torch.device,
               augment: bool) -> ProbeData:
    """`n_train` of the training images, drawn at random, or all of them; none is held out.

    Raises DataUnavailable if there are none, or InvalidValue if there are too few or they are not of two or more
    classes, the same as the test images'.
    """
    images = load_images(keys, "train")
    if len(images.classes) < 2:
        raise InvalidValue("--dataset", keys.title, f"two classes or more: it has {len(images.classes)}")
    if images.classes != test.classes:
        odd = next(iter(set(images.classes) ^ set(test.classes)), "their order")
        raise InvalidValue("--dataset", keys.title, f"the same classes in training and test images ({odd!r} differs)")
    if len(images) < 2:
        raise InvalidValue("--dataset", keys.title, "two training images or more")
    chosen = images.take(_positions(len(images), n_train, 0, seed)[0])
    plain = _source(chosen, device)
    augmented = _source(chosen, device, augment, DATASETS[keys.dataset].flip) if augment else plain
    return ProbeData(plain, augmented, chosen.fingerprint())


def evaluation_data(keys: DataSettings, n_examples: int | None, device: torch.device, indices: str | None = None,
                    corrupted: Corrupted | None = None, seed: int = 0) -> EvaluationData:
    """The first `n_examples` test examples (where the files come class by class: in a fixed random order, so that any
    first ones are of all classes); or those whose indices in the data set `indices` names (`0-99,250`), in that order.
    `corrupted`: how, at that seed; results then call the data set so.

    Raises InvalidValue for an index that is not there, or for images to corrupt that are read batch by batch.
    """
    if n_examples is not None and n_examples < 1:
        raise InvalidValue("n-examples", n_examples, "at least 1")
    images = load_images(keys, "test")
    chosen = _first(images, n_examples) if indices is None else images.take(_places(images.indices.tolist(), indices))
    mean, std = DATASETS[keys.dataset].statistics or chosen.statistics()
    title = keys.title
    if corrupted is not None:
        if isinstance(chosen, ImageFiles):
            raise InvalidValue("corruption", str(corrupted), f"none for {title}, whose images are read batch by batch; "
                               "ImageNet-C's folders take its place")
        chosen, title = corrupt_set(chosen, corrupted, seed), f"{title}, {corrupted}"
    return EvaluationData(_source(chosen, device), title, images.classes, chosen.fingerprint(), mean, std)


def load_images(keys: DataSettings, split: Split) -> Images:
    """All images of a split. Raises DataUnavailable for files that are missing, empty or malformed."""
    images: Images = DATASETS.get(keys.dataset).load(split, keys)
    return images


def _source(images: Images, device: torch.device, augment: bool = False, flip: bool = True, ranks: Ranks = ALONE
            ) -> BatchSource:
    if isinstance(images, ImageFiles):
        return StreamingSource(images, device, augment, flip, ranks=ranks)
    return ResidentSource(images, device, augment, flip, ranks)


def _places(there: list[int], indices: str) -> NDArray[np.int64]:
    """Where the indices that the text names stand in the data set."""
    place = {index: number for number, index in enumerate(there)}
    wanted = chosen_indices(indices)
    if missing := [index for index in wanted if index not in place]:
        raise InvalidValue("indices", missing[0], f"indices of the test set, such as {', '.join(map(str, there[:3]))}")
    return np.array([place[index] for index in wanted])


def split_sizes(total: int, n_train: int | None, n_holdout: int | None) -> tuple[int, int]:
    """How many of `total` images are trained on and how many held out, as `training_data` splits them.

    Raises InvalidValue if there are too few.
    """
    if n_holdout is None:
        n_holdout = min(1000, max(1, total // 10))
    if n_holdout >= total:
        raise InvalidValue("n-holdout", n_holdout, f"less than the {total} images of the training set")
    wanted = n_train if n_train is not None else total - n_holdout
    if wanted + n_holdout > total:
        raise InvalidValue("n-train", wanted, f"at most {total - n_holdout} ({total} images less {n_holdout} held out)")
    return wanted, n_holdout


def _positions(
    total: int, n_train: int | None, n_holdout: int | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    wanted, n_holdout = split_sizes(total, n_train, n_holdout)
    order = torch.randperm(total, generator=stream(seed, "held-out part")).numpy()
    return np.sort(order[n_holdout : n_holdout + wanted]), np.sort(order[:n_holdout])


def _first(images: Images, count: int | None) -> Images:
    by_class = bool((np.diff(images.labels) >= 0).all())
    return images.take(_mixed(len(images), count) if by_class else slice(0, count))


def _mixed(total: int, count: int | None) -> NDArray[np.int64]:
    """`count` of so many positions in a fixed random order, so that the first ones are of all classes."""
    return torch.randperm(total, generator=stream(0, "subset"))[:count].numpy()
