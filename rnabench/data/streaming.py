"""Image folders too large for the device, read by worker processes (ImageNet's way: 224 px crops)."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from rnabench.data.batches import Batch, batches, epoch_order, own_rows
from rnabench.data.image_files import list_images, opened_image, rgb
from rnabench.errors import DataUnavailable, RnabenchError
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.runtime.stopping import SIGNALS
from rnabench.seeding import derive
from rnabench.settings.datasets import DATASETS, Channels, Dataset, DataSettings, Split

MOST_PIXELS = 2**26  # that an image may have once it is made larger, before it is cropped


@dataclass(frozen=True)
class ImageFiles:
    """Image files with their class numbers, to be cropped to `size` pixels a side; those at `indices` are meant."""

    classes: tuple[str, ...]
    files: Sequence[tuple[Path, int]]
    indices: NDArray[np.int64]
    size: int

    @classmethod
    def of(cls, data_dir: Path, split: Split, size: int) -> ImageFiles:
        """Those of a split in class folders. Raises DataUnavailable."""
        classes, files = list_images(data_dir, split)
        return cls(classes, files, np.arange(len(files)), size)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array([self.files[index][1] for index in self.indices], dtype=np.int64)

    def take(self, positions: Sequence[int] | NDArray[np.int64] | slice) -> ImageFiles:
        """The images at these positions; they keep their indices."""
        return replace(self, indices=self.indices[positions])

    def fingerprint(self) -> str:
        """16 hex digits that depend on the classes and on the files' names and sizes (not on every pixel). Raises
        DataUnavailable."""
        digest = hashlib.sha256("/".join(self.classes).encode())
        for index in self.indices:
            file, _ = self.files[index]
            try:
                size = file.stat().st_size
            except OSError as error:
                raise DataUnavailable(f"data-dir: {str(file)!r} cannot be read ({error.strerror})") from None
            digest.update(os.fsencode(f"{index}:{file.parent.name}/{file.name}:{size}\n"))  # names may be no UTF-8
        return digest.hexdigest()[:16]

    def statistics(self) -> tuple[Channels, Channels]:
        """Raises RnabenchError: not all files are read for that."""
        raise RnabenchError("dataset: it declares no `statistics`; expected mean and deviation by channel of a data "
                            "set that is read from files batch by batch")


@DATASETS.register("imagenet")
class ImageNet(Dataset):
    """ImageNet's 1,000 classes, or others, in train/<class>/* and test/<class>/*."""

    size, classes = 224, 1000
    statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    train_images, test_images = 1_281_167, 50_000

    @classmethod
    def load(cls, split: Split, keys: DataSettings) -> ImageFiles:
        return ImageFiles.of(keys.folder, split, cls.size)


class _Decoded(torch.utils.data.Dataset[tuple[torch.Tensor, int, int]]):
    """The images at `indices`, decoded; a random crop depends on its seed alone, and without `seeds` there is none."""

    def __init__(self, images: ImageFiles, indices: Sequence[int], seeds: Sequence[int] | None, flip: bool) -> None:
        from torchvision import transforms

        self.files, self.indices, self.seeds = images.files, indices, seeds
        self.resize = round(images.size * 256 / 224)
        crop = [transforms.Resize(self.resize), transforms.CenterCrop(images.size)]
        augment = [transforms.RandomResizedCrop(images.size), *([transforms.RandomHorizontalFlip()] if flip else [])]
        self.transform = transforms.Compose(augment if seeds is not None else crop)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int, int]:
        file, label = self.files[self.indices[item]]
        with opened_image(file) as opened:
            longest = self.resize * max(opened.size) / min(opened.size)
            if self.seeds is None and self.resize * longest > MOST_PIXELS:  # 1x10000 pixels would become 256x2560000
                raise DataUnavailable(f"data-dir: {str(file)!r} is {opened.width}x{opened.height} pixels; expected "
                                      f"sides that differ less: the shorter one is made {self.resize} pixels")
            image = rgb(opened)
        with torch.random.fork_rng(devices=[]):
            if self.seeds is not None:  # torchvision's transforms draw from the global generator
                torch.default_generator.manual_seed(self.seeds[item])
            pixels: Any = self.transform(image)
        return torch.from_numpy(np.array(pixels)), label, self.indices[item]


class StreamingSource:
    """Files read from disk batch by batch; see BatchSource."""

    def __init__(self, images: ImageFiles, device: torch.device, augment: bool = False, flip: bool = True,
                 workers: int = 2, ranks: Ranks = ALONE) -> None:
        self._images, self._device, self._augment, self._flip, self._workers = images, device, augment, flip, workers
        self._ranks = ranks
        self.indices: list[int] = images.indices.tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def in_order(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        yield from self._read(self.indices[start * batch_size:], None, batch_size)

    def shuffled(self, batch_size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = True
                 ) -> Iterator[Batch]:
        order = epoch_order(self.indices, seed, epoch).tolist()
        numbers = range(start, batches(len(self), batch_size, drop_last))
        if not numbers:
            return
        wholes, parts = zip(*(own_rows(number, batch_size, len(self), self._ranks) for number in numbers), strict=True)
        indices = [self.indices[row] for part in parts for row in order[part]]
        seeds = [derive(seed, "augmentation", epoch, index) for index in indices]
        own_size = parts[0].stop - parts[0].start  # of all batches but an incomplete last one
        read = self._read(indices, seeds if self._augment else None, own_size)
        for whole, batch in zip(wholes, read, strict=True):
            yield replace(batch, whole=whole)

    def _read(self, indices: Sequence[int], seeds: Sequence[int] | None, batch_size: int) -> Iterator[Batch]:
        decoded = _Decoded(self._images, indices, seeds, self._flip)
        loader = DataLoader(decoded, batch_size, num_workers=self._workers, pin_memory=self._device.type == "cuda",
                            generator=torch.Generator(),  # else it draws from the global one
                            worker_init_fn=_leave_signals_to_the_parent)
        for pixels, labels, read in _with_errors_in_one_line(loader):
            images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
            yield Batch(images, labels.to(self._device, non_blocking=True), read.tolist())


def _leave_signals_to_the_parent(worker: int) -> None:
    """What a terminal or a scheduler sends to all processes asks the parent to stop, and until it can, it needs its
    workers: only the parent's own SIGTERM ends one."""
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux: it tells who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_the_parent_says, daemon=True).start()


def _end_when_the_parent_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _with_errors_in_one_line(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's batches. The message of a worker's error is its traceback, of which only the last line is kept."""
    try:
        yield from loader
    except DataUnavailable as error:
        raise DataUnavailable(str(error).strip().splitlines()[-1].rpartition("DataUnavailable: ")[2]) from None
