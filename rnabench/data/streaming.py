"""Image folders too large for the device, read by worker processes (ImageNet's way: 224 px crops)."""

from __future__ import annotations

import copy
import hashlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from rnabench.data.batches import Batch, batches
from rnabench.data.folder import list_images, open_image
from rnabench.data.images import Split
from rnabench.errors import DataUnavailable
from rnabench.runtime.stopping import SIGNALS
from rnabench.seeding import ExampleStreams, derive


class _Files(Dataset[tuple[torch.Tensor, int, int]]):
    """Decodes image `position` of the list `files`; its random crop depends on (seed, epoch, position) alone."""

    def __init__(self, files: Sequence[tuple[Path, int]], positions: Sequence[int], seeds: Sequence[int] | None,
                 size: int) -> None:  # seeds None: no augmentation
        self.files, self.positions, self.seeds = files, positions, seeds
        resize = round(size * 256 / 224)
        crop = [transforms.Resize(resize), transforms.CenterCrop(size)]
        augment = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(augment if seeds is not None else crop)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int, int]:
        file, label = self.files[self.positions[item]]
        image = open_image(file)
        with torch.random.fork_rng(devices=[]):
            if self.seeds is not None:  # torchvision's transforms draw from the global generator
                torch.default_generator.manual_seed(self.seeds[item])
            pixels: Any = self.transform(image)
        return torch.from_numpy(np.array(pixels)), label, self.positions[item]


class StreamingSource:
    """A folder read from disk batch by batch; see BatchSource."""

    def __init__(self, data_dir: Path, split: Split, device: torch.device, size: int = 224,
                 positions: Sequence[int] | None = None, workers: int = 2, augment: bool = True) -> None:
        self.classes, self._files = list_images(data_dir, split)
        self._augment = augment
        self.indices = list(range(len(self._files)) if positions is None else positions)
        self._device, self._size, self._workers = device, size, workers

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, positions: Sequence[int], augment: bool = False) -> StreamingSource:
        """The same folder, these images of it only; the folder, which may be large, is not listed again."""
        part = copy.copy(self)
        part.indices, part._augment = list(positions), augment
        return part

    def fingerprint(self, positions: Sequence[int]) -> str:
        """16 hex digits that depend on the classes and on these files' names and sizes (not on every pixel)."""
        digest = hashlib.sha256("/".join(self.classes).encode())
        for position in positions:
            file, _ = self._files[position]
            digest.update(f"{position}:{file.parent.name}/{file.name}:{file.stat().st_size}\n".encode())
        return digest.hexdigest()[:16]

    def in_order(self, batch_size: int, start: int = 0) -> Iterator[Batch]:
        yield from self._read(self.indices[start * batch_size:], None, batch_size)

    def shuffled(self, batch_size: int, seed: int, epoch: int, start: int = 0, drop_last: bool = True
                 ) -> Iterator[Batch]:
        order = ExampleStreams(seed, "order", indices=self.indices, first=epoch).order().tolist()
        whole = batches(len(self), batch_size, drop_last) * batch_size
        positions = [self.indices[row] for row in order[start * batch_size : whole]]
        seeds = [derive(seed, "augmentation", epoch, position) for position in positions]
        yield from self._read(positions, seeds if self._augment else None, batch_size)

    def _read(self, positions: Sequence[int], seeds: Sequence[int] | None, batch_size: int) -> Iterator[Batch]:
        files = _Files(self._files, positions, seeds, self._size)
        loader = DataLoader(files, batch_size, num_workers=self._workers, pin_memory=self._device.type == "cuda",
                            generator=torch.Generator(),  # else it draws from the global one
                            worker_init_fn=_leave_signals_to_the_parent)
        for pixels, labels, indices in _with_errors_in_one_line(loader):
            images = pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
            yield Batch(images, labels.to(self._device, non_blocking=True), indices.tolist())


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
