"""Data sets, their splits, batches and augmentation."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnabench.data.batches import ResidentSource, first_images, pad_crop_flip
from rnabench.data.folder import cache_folder
from rnabench.data.sources import evaluation_data, load_images, training_data
from rnabench.data.streaming import ImageFiles, StreamingSource
from rnabench.errors import DataUnavailable, InvalidSettings, InvalidValue
from rnabench.seeding import ExampleStreams
from rnabench.settings.base import from_options
from rnabench.settings.datasets import DATASETS, DataSettings
from tests.helpers import random_images

CPU = torch.device("cpu")


def write_folder(root: Path, per_class: int = 4, size: int = 8, numbered: bool = False) -> Path:
    rng, number = np.random.default_rng(0), 0
    for split in ("train", "test"):
        for name in ("cat", "dog", "eel"):
            (root / split / name).mkdir(parents=True)
            for k in range(per_class):
                pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                stem = f"{(number * 7) % 100:04}" if numbered else f"{k:04}"
                Image.fromarray(pixels).save(root / split / name / f"{stem}.png")
                number += 1
    return root


def in_folder(folder: Path) -> DataSettings:
    return DataSettings(dataset="folder", data_dir=folder)


def test_digits_are_split_once_and_for_all() -> None:
    train, test = (load_images(DataSettings(), split) for split in ("train", "test"))
    assert len(train) + len(test) == 1797
    assert not set(train.indices) & set(test.indices)
    assert train.images.shape[1:] == (32, 32, 3)
    assert np.bincount(test.labels).min() > 20
    assert load_images(DataSettings(), "test").fingerprint() == test.fingerprint() != train.fingerprint()


def test_a_folder_is_decoded_once_and_reopened_from_its_cache(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images", per_class=40)
    first = load_images(in_folder(folder), "train")
    assert (first.classes, len(first)) == (("cat", "dog", "eel"), 120)
    cached = set(cache_folder().iterdir())
    started = time.perf_counter()
    again = load_images(in_folder(folder), "train")
    assert time.perf_counter() - started < 1
    assert again.fingerprint() == first.fingerprint()
    assert set(cache_folder().iterdir()) == cached
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "train" / "cat" / "0000.png")  # a changed file changes the key
    changed = load_images(in_folder(folder), "train")
    assert not changed.images[0].any()


def test_an_image_that_is_replaced_is_noticed_whatever_its_size_and_time(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images")
    image = folder / "test" / "cat" / "0000.ppm"  # of one size whatever it shows
    Image.fromarray(np.full((8, 8, 3), 50, dtype=np.uint8)).save(image)
    before, status = load_images(in_folder(folder), "test"), image.stat()
    Image.fromarray(np.full((8, 8, 3), 60, dtype=np.uint8)).save(image)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (image.stat().st_size, image.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = load_images(in_folder(folder), "test")
    assert [int(images.images[1].max()) for images in (before, after)] == [50, 60]


@pytest.mark.parametrize("damage", ["a byte", "another array", "no array", "no hash"])
def test_a_cache_that_is_not_what_was_decoded_is_made_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNABENCH_CACHE", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "images")
    first = load_images(in_folder(folder), "test").fingerprint()
    (array,), (digest,) = (list(cache_folder().glob(f"*.{end}")) for end in ("npy", "sha256"))
    content = array.read_bytes()
    if damage == "a byte":
        array.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "another array":
        np.save(array, np.zeros((12, 8, 8, 3), dtype=np.uint8))
    else:
        (array if damage == "no array" else digest).unlink()
    assert load_images(in_folder(folder), "test").fingerprint() == first
    assert array.read_bytes() == content


def test_numbered_files_come_in_their_numbers_order(tmp_path: Path) -> None:
    images = load_images(in_folder(write_folder(tmp_path, numbered=True)), "test")
    assert images.indices.tolist() == sorted(images.indices.tolist())
    assert len(set(images.labels[:4].tolist())) > 1  # so the first n are a mixture


@pytest.mark.parametrize("damage", ["nothing", "no split", "no images", "not an image", "other size", "too large"])
def test_bad_folders_are_told_in_one_line(tmp_path: Path, damage: str) -> None:
    root = tmp_path / "images"
    if damage != "nothing":
        write_folder(root, size=200 if damage == "too large" else 8)
    first = root / "test" / "cat" / "0000.png"
    if damage == "no split":
        (root / "test").rename(root / "other")
    elif damage == "no images":
        for file in (root / "test").rglob("*.png"):
            file.unlink()
    elif damage == "not an image":
        first.write_bytes(b"no image")
    elif damage == "other size":
        Image.fromarray(np.zeros((9, 8, 3), dtype=np.uint8)).save(first)
    with pytest.raises(DataUnavailable, match="data-dir") as caught:
        load_images(in_folder(root), "test")
    assert "\n" not in str(caught.value)


def test_names_are_checked() -> None:
    with pytest.raises(InvalidSettings, match="did you mean 'cifar10'"):
        from_options(DataSettings, {"dataset": "cifar-10"})
    with pytest.raises(InvalidSettings, match=r"data-dir.*expected the folder that holds 'cifar10'"):
        from_options(DataSettings, {"dataset": "cifar10"})
    with pytest.raises(InvalidSettings, match="expected no folder for dataset 'digits'; did you mean --dataset folder"):
        from_options(DataSettings, {"dataset": "digits", "data_dir": "images"})
    with pytest.raises(InvalidValue, match="data-dir"):
        load_images(DataSettings.model_construct(dataset="cifar10"), "test")
    with pytest.raises(DataUnavailable, match="--download"):
        load_images(DataSettings(dataset="cifar10", data_dir=Path("/nonexistent")), "test")


def test_what_a_data_set_declares_is_so() -> None:
    digits = DATASETS["digits"]
    train, test = (load_images(DataSettings(), split) for split in ("train", "test"))
    assert (len(train), len(test)) == (digits.train_images, digits.test_images)
    assert train.classes == digits.classes
    assert train.images.shape[1:3] == (digits.size, digits.size)
    for name, dataset in DATASETS.items():
        if isinstance(dataset.classes, tuple):
            assert len(set(dataset.classes)) == dataset.class_count(), name
        assert all(0 < value < 1 for channel in dataset.statistics or () for value in channel)


def test_held_out_and_training_parts_do_not_overlap() -> None:
    request = DataSettings()
    data = training_data(request, n_train=500, n_holdout=100, seed=3, device=CPU)
    assert (len(data.train), len(data.holdout)) == (500, 100)
    assert not set(data.train.indices) & set(data.holdout.indices)
    assert training_data(request, 500, 100, 3, CPU).fingerprint == data.fingerprint
    with pytest.raises(InvalidValue, match="n-train"):
        training_data(request, 1400, 100, 3, CPU)
    default = training_data(request, None, None, 0, CPU)
    assert (len(default.train), len(default.holdout)) == (1260, 140)


@pytest.mark.filterwarnings("error")
def test_statistics_are_those_of_the_pixels() -> None:
    images = random_images(50)
    images.images.flags.writeable = False  # as those of a folder's cache are
    mean, std = images.statistics()
    pixels = images.images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, pixels.std(0), atol=1e-4)


def test_the_first_n_or_a_fixed_mixture_where_files_come_by_class(tmp_path: Path) -> None:
    assert evaluation_data(DataSettings(), 20, CPU).source.indices == load_images(
        DataSettings(), "test").indices[:20].tolist()
    by_class = evaluation_data(DataSettings(dataset="folder", data_dir=write_folder(tmp_path, 20)), 30, CPU).source
    labels = torch.cat([batch.labels for batch in by_class.in_order(10)])
    assert len(labels) == 30
    assert len(set(labels.tolist())) == 3


def test_an_epoch_is_a_permutation_that_can_start_anywhere() -> None:
    source = ResidentSource(random_images(23), CPU, augment=True)
    whole = list(source.shuffled(4, seed=1, epoch=2))
    assert len(whole) == 5
    indices = [index for batch in whole for index in batch.indices]
    assert len(set(indices)) == 20
    rest = list(source.shuffled(4, seed=1, epoch=2, start=3))
    for late, batch in zip(rest, whole[3:], strict=True):
        assert late.indices == batch.indices
        assert torch.equal(late.images, batch.images)
    assert [b.indices for b in source.shuffled(4, seed=1, epoch=3)] != [b.indices for b in whole]


def test_augmentation_only_shifts_and_mirrors() -> None:
    pixels = torch.from_numpy(random_images(64, size=32).images)
    moved = pad_crop_flip(pixels, ExampleStreams(0, "crop", indices=range(64)))
    unmirrored = 0
    for before, after in zip(pixels, moved, strict=True):
        padded = torch.nn.functional.pad(before, (0, 0, 4, 4, 4, 4))
        crops = {(flip, y, x): crop.flip(1) if flip else crop for y in range(9) for x in range(9)
                 for crop in [padded[y : y + 32, x : x + 32]] for flip in (0, 1)}
        found = [key for key, crop in crops.items() if torch.equal(crop, after)]
        assert len(found) == 1
        unmirrored += found[0][0] == 0
    assert 16 < unmirrored < 48
    straight = pad_crop_flip(pixels, ExampleStreams(0, "crop", indices=range(64)), flip=False)
    assert straight.shape == pixels.shape


def test_batches_are_float_images_in_channels_last() -> None:
    images = random_images(6)
    (batch,) = ResidentSource(images, CPU).in_order(10)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(batch.images.permute(0, 2, 3, 1).numpy(), images.images / 255, atol=1e-7)


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_is_reproducible_and_can_start_anywhere(tmp_path: Path, workers: int) -> None:
    files = ImageFiles.of(write_folder(tmp_path, per_class=4, size=40), "train", size=16)
    source = StreamingSource(files, CPU, augment=True, workers=workers)
    state = torch.random.get_rng_state()
    whole = list(source.shuffled(3, seed=0, epoch=1))
    rest = list(source.shuffled(3, seed=0, epoch=1, start=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(whole) == 4
    for late, batch in zip(rest, whole[2:], strict=True):
        assert late.indices == batch.indices
        assert torch.equal(late.images, batch.images)
    ordered = list(source.in_order(5))
    assert [index for batch in ordered for index in batch.indices] == list(range(12))
    assert ordered[0].images.shape == (5, 3, 16, 16)
    assert 0 <= float(ordered[0].images.min()) <= float(ordered[0].images.max()) <= 1


@pytest.mark.parametrize("dataset", ["folder", "imagenet"])
def test_first_images_of_class_folders_are_of_all_classes(tmp_path: Path, dataset: str) -> None:
    """Whatever runs on the first of them only (slow attacks, sanity checks) sees no single class."""
    root = write_folder(tmp_path, per_class=16)
    keys = DataSettings.model_validate({"dataset": dataset, "data_dir": root})

    def labels(count: int | None) -> list[tuple[int, int]]:
        source = evaluation_data(keys, count, CPU).source
        return [pair for batch in source.in_order(7) for pair in zip(batch.indices, batch.labels.tolist(), strict=True)]

    everything = labels(None)
    assert sorted(index for index, _ in everything) == list(range(48))
    assert labels(20) == everything[:20]
    assert {label for _, label in everything[:12]} == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4, 5, 23, 100])
def test_the_first_images_are_the_same_in_batches_of_any_size(batch_size: int) -> None:
    source = ResidentSource(random_images(23), CPU)
    for count in (1, 10, 23, 30):
        batches = list(first_images(source, batch_size, count))
        assert [index for batch in batches for index in batch.indices] == source.indices[:count]
        assert all(0 < len(batch.images) == len(batch.indices) <= batch_size for batch in batches)
