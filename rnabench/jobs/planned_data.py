"""The images that a recipe needs: as they are there, or else as many as were published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from rnabench.data.sources import evaluation_data, split_sizes, training_data
from rnabench.errors import DataUnavailable
from rnabench.jobs.recipe_check import tested_on
from rnabench.jobs.reproduce import Place, trained
from rnabench.jobs.study import with_training
from rnabench.jobs.target import open_data
from rnabench.settings.base import chosen_indices
from rnabench.settings.datasets import DATASETS, Dataset, DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.recipe import Recipe
from rnabench.settings.studies import Probing
from rnabench.settings.training import TrainingSettings

Where = tuple[str, Path | None]
"""A data set: its name in results, and its folder."""


@dataclass(frozen=True)
class ImageCounts:
    """How many test images, of how many classes, and their `side` in pixels."""

    count: int
    classes: int
    side: int


class PlannedData:
    """`missing`: the data sets that are not there, with a line about each. Nothing is fetched.

    Raises DataUnavailable for one of which no sizes are published.
    """

    def __init__(self, recipe: Recipe, place: Place, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.missing: dict[Where, str] = {}
        self._seen: set[tuple[Where, str]] = set()
        self._counted: dict[tuple[Where, int | None, str | None], ImageCounts] = {}
        for name, training in recipe.models.items():
            if not trained(place.run(training)):
                self._look(training, "train")
            self._look(tested_on(recipe, name), "test")
        for name in recipe.imported:
            self._look(tested_on(recipe, name), "test")
        for figure in recipe.figures.values():
            for name in figure.models if isinstance(figure.study, Probing) else ():
                self._look(tested_on(recipe, name), "train")

    def without(self) -> list[str]:
        """The models whose test images are missing."""
        return [name for name in (*self.recipe.models, *self.recipe.imported)
                if _where(tested_on(self.recipe, name)) in self.missing]

    def test_images(self, name: str, evaluation: EvaluationSettings) -> ImageCounts:
        """What a model is attacked on."""
        keys = tested_on(self.recipe, name)
        what = _where(keys), evaluation.n_examples, evaluation.indices
        if what not in self._counted:
            self._counted[what] = self._count(keys, evaluation)
        return self._counted[what]

    def _count(self, keys: DataSettings, evaluation: EvaluationSettings) -> ImageCounts:
        info = DATASETS[keys.dataset]
        if _where(keys) not in self.missing:
            data = open_data(keys, evaluation, self.device)
            side = info.size or next(data.source.in_order(1)).images.shape[-1]
            return ImageCounts(len(data.source), len(data.classes), side)
        published = _published(info)
        most = published[1]
        count = len(chosen_indices(evaluation.indices)) if evaluation.indices else evaluation.n_examples or most
        return ImageCounts(min(count, most), *published[2:])

    def epoch_images(self, training: TrainingSettings) -> int:
        """How many images an epoch goes through, held-out ones with them."""
        if _where(training) in self.missing:
            total = _published(DATASETS[training.dataset])[0]
            return sum(split_sizes(total, training.n_train, training.n_holdout))
        data = training_data(training, training.n_train, training.n_holdout, training.seed, self.device, False)
        return len(data.train) + len(data.holdout)

    def probe_images(self, name: str, study: Probing) -> int:
        """How many images a study trains classifiers with on a model."""
        keys = tested_on(self.recipe, name)
        if _where(keys) in self.missing:
            return study.n_train or _published(DATASETS[keys.dataset])[0]
        data = with_training(study, keys, open_data(keys, study.evaluation(), self.device), self.device)
        return len(data.training.plain) if data.training else 0

    def _look(self, settings: DataSettings, split: str) -> None:
        where = _where(settings)
        if where in self.missing or (where, split) in self._seen:
            return
        self._seen.add((where, split))
        own = settings.model_dump(include=set(DataSettings.model_fields))
        keys = DataSettings.model_validate(own | {"download": False})
        try:
            if split == "train":
                training_data(keys, 1, 0, 0, self.device, False)
            else:
                evaluation_data(keys, 1, self.device)
        except DataUnavailable as error:
            info = DATASETS[keys.dataset]
            if not (sizes := _published(info)):
                raise
            fetched = f"{str(keys.data_dir)!r} holds no complete {keys.title}, and --download fetches it first"
            self.missing[where] = (f"{fetched if settings.download else error}; planned with the published sizes, "
                                   f"{sizes[0]:,} training and {sizes[1]:,} test images")


def _where(keys: DataSettings) -> Where:
    return keys.title, keys.data_dir


def _published(info: type[Dataset]) -> tuple[int, ...]:
    """How many training images, test images and classes, and the images' side; nothing unless all is known."""
    sizes = info.train_images, info.test_images, info.class_count(), info.size
    return tuple(size for size in sizes if size) if all(sizes) else ()
