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
from rnabench.runtime.launch import launched
from rnabench.runtime.ranks import ALONE, Ranks
from rnabench.runtime.stopping import SIGNALS, signals_held_back
from rnabench.seeding import derive, globals_at
from rnabench.settings.datasets import DATASETS, Channels, Dataset, DataSettings, Split

MOST_PIXELS = 2**26  # that an image may have once it is made larger, before it is cropped
MOST_WORKERS = 8
KEPT_BYTES = 2 * 2**30  # of decoded images of a source: 14,000 of 224 pixels a side


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


Wanted = tuple[int, int | None]
"""An image's index, and the seed of its random crop; without one it is cropped in the middle."""


class _Decoded(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images by what is wanted of them, decoded: pixels uint8 [size, size, 3], and the class number."""

    def __init__(self, images: ImageFiles, flip: bool) -> None:
        from torchvision import transforms

        self.files = images.files
        self.resize = round(images.size * 256 / 224)
        self.cropped = transforms.Compose([transforms.Resize(self.resize), transforms.CenterCrop(images.size)])
        self.augmented = transforms.Compose([transforms.RandomResizedCrop(images.size),
                                             *([transforms.RandomHorizontalFlip()] if flip else [])])

    def __getitem__(self, wanted: Wanted) -> tuple[torch.Tensor, int]:
        index, seed = wanted
        file, label = self.files[index]
        with opened_image(file) as opened:
            longest = self.resize * max(opened.size) / min(opened.size)
            if seed is None and self.resize * longest > MOST_PIXELS:  # 1x10000 pixels would become 256x2560000
                raise DataUnavailable(f"data-dir: {str(file)!r} is {opened.width}x{opened.height} pixels; expected "
                                      f"sides that differ less: the shorter one is made {self.resize} pixels")
            image = rgb(opened)
        with globals_at(seed):  # from which torchvision's transforms draw
            pixels: Any = self.cropped(image) if seed is None else self.augmented(image)
        return torch.from_numpy(np.array(pixels)), label


class _Asked:
    """What the loader asks for: the batches of the reading under way."""

    def __init__(self) -> None:
        self.batches: list[list[Wanted]] = []

    def __iter__(self) -> Iterator[list[Wanted]]:
        return iter(self.batches)


class _Reader:
    """Worker processes that stay between readings, for one reading at a time.

    Nothing that the loader holds leads back to it. In a cycle it would be left to the collector, which closes the
    workers' queues before they hear that they may end, and then waits five seconds for each of them.
    """

    def __init__(self, decoded: _Decoded, workers: int, pin: bool) -> None:
        self._asked = _Asked()
        self._loader: DataLoader[Any] = DataLoader(
            decoded, batch_sampler=self._asked, num_workers=workers, pin_memory=pin, persistent_workers=workers > 0,
            generator=torch.Generator(),  # else it draws from the global one
            worker_init_fn=_leave_signals_to_the_parent)

    def read(self, batches: list[list[Wanted]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels uint8 [N, size, size, 3] and labels of each batch."""
        self._asked.batches = batches
        return _with_errors_in_one_line(self._loader)


def usual_workers() -> int:
    """How many processes decode for one reading: from 2 to MOST_WORKERS, of the cores that this process may use, or of
    its share of them among the ranks of this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    launch = launched()
    return max(2, min(MOST_WORKERS, cores // (launch.local_count if launch else 1)))


class StreamingSource:
    """Files read from disk batch by batch; see BatchSource.

    What is read in order is read again and again, once for each cell of an evaluation: the first images, as many as fit
    into KEPT_BYTES of memory, are kept as they were decoded. Worker processes stay for the next reading.
    """

    def __init__(self, images: ImageFiles, device: torch.device, augment: bool = False, flip: bool = True,
                 workers: int | None = None, ranks: Ranks = ALONE) -> None:
        self._images, self._device, self._augment = images, device, augment
        self._workers = usual_workers() if workers is None else workers
        self._ranks = ranks
        self._decoded = _Decoded(images, flip)
        self._idle: list[_Reader] = []
        self._kept: dict[int, torch.Tensor] = {}
        self._most_kept = KEPT_BYTES // (3 * images.size**2)
        self.indices: list[int] = images.indices.tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def in_order(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        every = [self.indices[low : low + batch_size] for low in range(start * batch_size, len(self), batch_size)]
        missing = [[index for index in indices if index not in self._kept] for indices in every]
        read = self._read([[(index, None) for index in indices] for indices in missing if indices])
        for indices, new in zip(every, missing, strict=True):
            pixels = dict(zip(new, next(read)[0], strict=True)) if new else {}
            for index in new[: max(0, self._most_kept - len(self._kept))]:
                self._kept[index] = pixels[index].clone()  # alone, not as a view of its whole batch
            together = torch.stack([pixels[index] if index in pixels else self._kept[index] for index in indices])
            yield self._batch(together, torch.tensor([self._images.files[index][1] for index in indices]), indices)

    def shuffled(self, batch_size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = True
                 ) -> Iterator[Batch]:
        order = epoch_order(self.indices, seed, epoch).tolist()
        numbers = range(start, batches(len(self), batch_size, drop_last))
        shares = [own_rows(number, batch_size, len(self), self._ranks) for number in numbers]
        every = [[self.indices[row] for row in order[rows]] for _, rows in shares]
        read = self._read([[(index, derive(seed, "augmentation", epoch, index) if self._augment else None)
                            for index in indices] for indices in every])
        for (whole, _), indices, (pixels, labels) in zip(shares, every, read, strict=True):
            yield replace(self._batch(pixels, labels, indices), whole=whole)

    def _batch(self, pixels: torch.Tensor, labels: torch.Tensor, indices: list[int]) -> Batch:
        images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        return Batch(images, labels.to(self._device, non_blocking=True), indices)

    def _read(self, every: list[list[Wanted]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if not every:
            return
        # a reading that began before and has not ended has a reader of its own
        reader = self._idle.pop() if self._idle else _Reader(self._decoded, self._workers, self._device.type == "cuda")
        try:
            yield from reader.read(every)
        except GeneratorExit:  # nobody wants the rest
            self._idle.append(reader)
            raise
        self._idle.append(reader)


def _leave_signals_to_the_parent(worker: int) -> None:
    """What a terminal or a scheduler sends to all processes asks the parent to stop, and until it can, it needs its
    workers: only the parent's own SIGTERM ends one."""
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # Linux: it tells who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_the_parent_says, daemon=True).start()
    elif hasattr(signal, "pthread_sigmask"):  # it was started with signals held back
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_when_the_parent_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _with_errors_in_one_line(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's batches. The message of a worker's error is its traceback, of which only the last line is kept."""
    try:
        with signals_held_back():  # else one that comes before a worker is ready ends it
            batches = iter(loader)
        yield from batches
    except DataUnavailable as error:
        raise DataUnavailable(str(error).strip().splitlines()[-1].rpartition("DataUnavailable: ")[2]) from None
