"""CIFAR-10 and CIFAR-100 through torchvision, which checks the files against their published hashes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from rnabench.data.images import ImageSet
from rnabench.errors import DataUnavailable
from rnabench.settings.datasets import DATASETS, Dataset, DataSettings, Split


class _Cifar(Dataset):
    """The official split, in its official order; `--download` fetches it."""

    size, train_images, test_images = 32, 50_000, 10_000
    kind: ClassVar[str]  # torchvision's class

    @classmethod
    def load(cls, split: Split, keys: DataSettings) -> ImageSet:
        import torchvision

        try:
            files = getattr(torchvision.datasets, cls.kind)(
                root=str(keys.folder), train=split == "train", download=keys.download)
        except (RuntimeError, OSError) as error:
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataUnavailable(
                f"data-dir: {str(keys.folder)!r} holds no complete {keys.dataset} ({first_line}); expected "
                "torchvision's files; add --download to fetch them"
            ) from error
        labels = np.asarray(files.targets, dtype=np.int64)
        return ImageSet(tuple(files.classes), files.data, labels, np.arange(len(labels)))


@DATASETS.register("cifar10")
class Cifar10(_Cifar):
    """60,000 photographs of animals and vehicles."""

    kind = "CIFAR10"
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    statistics = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


@DATASETS.register("cifar100")
class Cifar100(_Cifar):
    """60,000 photographs, 600 of each class."""

    kind = "CIFAR100"
    classes = tuple(
        """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
        lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
        pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
        shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
        television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
        """.split()  # noqa: SIM905 (a hundred quoted names are no easier to read)
    )
    statistics = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
