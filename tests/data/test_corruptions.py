"""Common corruptions: what each does to images, and that an example's is its own whatever batch it is in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from rnabench.data.corrupt import Numbers, corrupt, corrupt_set
from rnabench.data.corruptions.digital import displacements
from rnabench.data.corruptions.resampling import sampled, smeared, zoomed
from rnabench.data.corruptions.weather import plasma
from rnabench.data.sources import evaluation_data
from rnabench.errors import InvalidValue, RnabenchError
from rnabench.seeding import ExampleStreams
from rnabench.settings.corruptions import CORRUPTIONS, SEVERITIES, Corrupted, corruption, parse_corruption
from rnabench.settings.datasets import DataSettings
from tests.helpers import random_images

NAMES = ["brightness", "contrast", "defocus-blur", "elastic-transform", "fog", "gaussian-noise", "glass-blur",
         "impulse-noise", "jpeg-compression", "motion-blur", "pixelate", "shot-noise", "snow", "zoom-blur"]
BLURS = ["defocus-blur", "glass-blur", "motion-blur", "zoom-blur", "elastic-transform", "pixelate"]
RANDOM = ["gaussian-noise", "shot-noise", "impulse-noise", "glass-blur", "motion-blur", "snow", "fog",
          "elastic-transform"]


def smooth_images(count: int = 8, size: int = 32) -> Tensor:
    """Of 8 bits, most values away from 0 and 1."""
    noise = np.random.default_rng(0).normal(size=(count, 3, size, size))
    smooth = gaussian_filter(noise, (0, 0, 2, 2), mode="wrap")
    smooth = 0.5 + 0.15 * smooth / smooth.std((2, 3), keepdims=True)
    return torch.from_numpy(np.rint(255 * smooth.clip(0, 1))).float() / 255


def grey(level: int, count: int = 4, size: int = 32) -> Tensor:
    return torch.full((count, 3, size, size), level / 255)


def numbers(count: int, seed: int = 0) -> Numbers:
    return Numbers(ExampleStreams(seed, "test", indices=range(count)))


def made(images: Tensor, name: str, severity: int, seed: int = 0) -> Tensor:
    return corrupt(images, list(range(len(images))), Corrupted(name, severity), seed)


def applied(images: Tensor, name: str) -> list[NDArray[np.float64]]:
    """At every severity, before clipping and rounding, with the same random numbers at each."""
    kind, clean = CORRUPTIONS[name], images.double().numpy()
    return [kind.apply(clean.copy(), level, numbers(len(images))) for level in kind.levels]


def test_fourteen_of_the_fifteen_are_there_and_frost_is_not() -> None:
    assert list(CORRUPTIONS) == NAMES
    with pytest.raises(InvalidValue, match="'frost' is not valid; expected one of brightness"):
        CORRUPTIONS.get("frost")


@pytest.mark.parametrize("name", NAMES)
def test_images_stay_images(name: str) -> None:
    """Also at the ends of the range and where sides differ; what is handed in is left alone."""
    rng = torch.Generator().manual_seed(0)
    for images in (torch.rand(3, 3, 32, 32, generator=rng), torch.rand(2, 3, 20, 28, generator=rng).round(),
                   grey(0, 1), grey(255, 1)):
        before = images.clone()
        for severity in (1, 5):
            found = made(images, name, severity)
            assert (found.shape, found.dtype, found.device) == (images.shape, torch.float32, images.device)
            assert 0 <= float(found.min()) <= float(found.max()) <= 1
            assert torch.equal((found * 255).round() / 255, found)
        assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_an_examples_corruption_knows_no_batch(name: str) -> None:
    images, indices = smooth_images(7), [3, 1, 400, 25, 9, 2**33, 0]
    corrupted = Corrupted(name, 3)
    whole = corrupt(images.contiguous(memory_format=torch.channels_last), indices, corrupted, 1)
    for part in (slice(0, 1), slice(1, 4), slice(2, 7)):
        assert torch.equal(corrupt(images[part], indices[part], corrupted, 1), whole[part])
    assert torch.equal(whole, corrupt(images, indices, corrupted, 2)) == (name not in RANDOM)
    assert torch.equal(whole, corrupt(images, indices[::-1], corrupted, 1)) == (name not in RANDOM)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"glass-blur", "elastic-transform"}))
def test_what_is_more_severe_is_further_from_the_clean_image(name: str) -> None:
    images = smooth_images()
    distances = [float(np.square(found - images.numpy()).mean()) for found in applied(images, name)]
    assert distances[0] > 0
    assert distances == sorted(set(distances))


def test_what_rises_in_elastic_transforms_and_glass() -> None:
    """CIFAR-10-C's levels trade one part for another: local displacement for affine maps, shuffling for blur."""
    images, kind = smooth_images().double().numpy(), CORRUPTIONS["elastic-transform"]
    local = [float(np.square(displacements(images, 32 * height, 32 * smoothness, numbers(8))).mean())
             for height, smoothness, _ in kind.levels]
    assert local[0] == 0
    assert local == sorted(set(local))
    once, blurred, more, twice, both = (float(np.square(found - images).mean())
                                        for found in applied(smooth_images(), "glass-blur"))
    assert max(once, blurred, more) < min(twice, both)


@pytest.mark.parametrize("name", BLURS)
@pytest.mark.parametrize("level", [0, 37, 255])
def test_blur_leaves_constants(name: str, level: int) -> None:
    for severity in SEVERITIES:
        assert torch.equal(made(grey(level), name, severity), grey(level))


def test_gaussian_noise_has_its_deviation() -> None:
    kind = CORRUPTIONS["gaussian-noise"]
    for found, deviation in zip(applied(grey(128), "gaussian-noise"), kind.levels, strict=True):
        noise = found - 128 / 255
        assert noise.std() == pytest.approx(deviation, rel=0.03)
        assert abs(noise.mean()) < 0.04 * deviation
        assert np.square(noise / deviation).std() == pytest.approx(2**0.5, rel=0.06)  # as a normal distribution's


def test_shot_noise_counts_photons() -> None:
    """A Poisson distribution's mean is its variance, at every grey level, and counts are whole numbers."""
    for level in (3, 128, 240):
        for found, photons in zip(applied(grey(level), "shot-noise"), CORRUPTIONS["shot-noise"].levels, strict=True):
            counts, mean = found * photons, photons * level / 255
            assert np.allclose(counts, counts.round())
            assert counts.mean() == pytest.approx(mean, abs=4 * (mean / counts.size) ** 0.5)
            assert counts.var() == pytest.approx(mean, rel=0.06)
    assert not made(grey(0), "shot-noise", 5).any()


def test_impulse_noise_hits_a_share_with_black_and_white() -> None:
    for found, share in zip(applied(grey(128, 8), "impulse-noise"), CORRUPTIONS["impulse-noise"].levels, strict=True):
        hit = found[abs(found - 128 / 255) > 1e-6]
        assert set(hit) == {0, 1}
        assert len(hit) / found.size == pytest.approx(share, rel=0.12)
        assert hit.mean() == pytest.approx(0.5, abs=0.15)


def test_contrast_keeps_the_mean_and_scales_what_is_around_it() -> None:
    images = smooth_images().double().numpy()
    for found, share in zip(applied(smooth_images(), "contrast"), CORRUPTIONS["contrast"].levels, strict=True):
        assert np.allclose(found.mean((2, 3)), images.mean((2, 3)))
        assert np.allclose(found.std((2, 3)), share * images.std((2, 3)))


def test_brightness_raises_the_value_and_keeps_the_hue() -> None:
    import colorsys

    pixels = [(0.2, 0.5, 0.1), (0.9, 0.3, 0.95), (0.0, 0.0, 0.0), (0.4, 0.4, 0.4)]
    images = torch.tensor(pixels).T.reshape(1, 3, 2, 2).float()
    for found, more in zip(applied(images, "brightness"), CORRUPTIONS["brightness"].levels, strict=True):
        for pixel, clean in zip(found.reshape(3, 4).T, pixels, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*clean)
            assert np.allclose(pixel, colorsys.hsv_to_rgb(hue, saturation, min(1, value + more)))
    assert (made(smooth_images(), "brightness", 1).mean() > smooth_images().mean())


def test_an_image_zoomed_by_two_is_its_middle() -> None:
    ramp = np.broadcast_to(np.arange(9.0)[:, None] + 100 * np.arange(9.0), (1, 1, 9, 9))
    assert np.allclose(zoomed(ramp, 2)[0, 0], np.linspace(2, 6, 9)[:, None] + 100 * np.linspace(2, 6, 9))
    assert np.allclose(zoomed(ramp, 1), ramp)


def test_places_beyond_the_edge_are_mirrored() -> None:
    ramp = np.broadcast_to(np.arange(5.0), (1, 1, 5, 5))
    columns = np.broadcast_to(np.array([-1, -0.5, 0.25, 4.5, 6.0]), (1, 5, 5))
    assert np.allclose(sampled(ramp, np.zeros((1, 5, 5)), columns)[0, 0, 0], [1, 0.5, 0.25, 3.5, 2])


@given(st.floats(-180, 180))
@settings(max_examples=20)
def test_a_point_is_smeared_along_a_line(angle: float) -> None:
    found, along, across = smeared_point(angle)
    assert found.sum() == pytest.approx(1)
    assert (abs(across) <= 0.75).all()
    assert along.min() >= -0.75
    assert along.max() <= 12.75


@pytest.mark.parametrize("angle", [-90.0, 0.0, 90.0, 180.0])
def test_what_is_smeared_falls_off_as_a_normal_distribution(angle: float) -> None:
    found, along, _ = smeared_point(angle)
    weights = np.exp(-(np.arange(13) ** 2) / 8)
    assert np.allclose(found[np.argsort(along)], weights / weights.sum())


def smeared_point(angle: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What a point becomes: the values that are not 0, and how far along the line and beside it they are."""
    point = np.zeros((1, 1, 41, 41))
    point[0, 0, 20, 20] = 1
    found, turned = smeared(point, 6, 2.0, np.array([angle]))[0, 0], np.deg2rad(angle)
    rows, columns = np.nonzero(found)
    return (found[rows, columns], (20 - columns) * np.cos(turned) + (20 - rows) * np.sin(turned),
            (20 - columns) * np.sin(turned) - (20 - rows) * np.cos(turned))


def test_a_slower_decay_makes_rougher_plasma() -> None:
    def roughness(decay: float) -> float:
        field = plasma(numbers(8), 32, decay)
        assert field.min() == 0
        assert field.max() == 1
        return float(np.abs(field - np.roll(field, 1, 1)).mean())
    assert roughness(3.0) < roughness(2.0) < roughness(1.75)


def test_a_data_set_of_corrupted_images() -> None:
    clean, corrupted = random_images(5, size=32), Corrupted("gaussian-noise", 2)
    found = corrupt_set(clean, corrupted, 0)
    images = torch.from_numpy(clean.images).permute(0, 3, 1, 2).float() / 255
    again = corrupt(images, clean.indices.tolist(), corrupted, 0)
    assert np.array_equal(found.images, (255 * again).round().byte().permute(0, 2, 3, 1).numpy())
    assert np.array_equal(found.labels, clean.labels)
    assert np.array_equal(found.indices, clean.indices)
    assert len({clean.fingerprint(), found.fingerprint(), corrupt_set(clean, corrupted, 1).fingerprint(),
                corrupt_set(clean, Corrupted("gaussian-noise", 3), 0).fingerprint()}) == 4


def test_test_images_may_be_corrupted() -> None:
    keys, fog = DataSettings(dataset="digits16", dataset_name="small"), Corrupted("fog", 2)
    clean, found = (evaluation_data(keys, 6, torch.device("cpu"), None, corrupted, 3) for corrupted in (None, fog))
    (batch,), (other,) = clean.source.in_order(6), found.source.in_order(6)
    assert torch.equal(other.images, corrupt(batch.images, batch.indices, fog, 3))
    assert torch.equal(other.labels, batch.labels)
    assert other.indices == batch.indices
    assert (clean.name, found.name) == ("small", "small, fog:2")
    assert clean.fingerprint != found.fingerprint
    (one,) = evaluation_data(keys, None, torch.device("cpu"), str(batch.indices[4]), fog, 3).source.in_order(1)
    assert torch.equal(one.images, other.images[4:5])


def test_images_that_are_read_batch_by_batch_are_not_corrupted(tmp_path: Path) -> None:
    (tmp_path / "test" / "cat").mkdir(parents=True)
    Image.new("RGB", (300, 260)).save(tmp_path / "test" / "cat" / "1.png")
    with pytest.raises(InvalidValue, match=r"corruption: 'fog:2' is not valid; expected none for imagenet"):
        evaluation_data(DataSettings(dataset="imagenet", data_dir=tmp_path), None, torch.device("cpu"), None,
                        Corrupted("fog", 2))


def test_folders_of_imagenet_c_are_test_images_by_a_link(tmp_path: Path) -> None:
    """noise/gaussian_noise/3/<class>/<image>, as it is unpacked, has no folder `test`."""
    for place in ("n01440764/a.JPEG", "n01443537/b.JPEG"):
        file = tmp_path / "ImageNet-C" / "noise" / "gaussian_noise" / "3" / place
        file.parent.mkdir(parents=True)
        Image.new("RGB", (224, 224), (9, 90, 200)).save(file)
    (tmp_path / "gaussian_noise-3").mkdir()
    (tmp_path / "gaussian_noise-3" / "test").symlink_to(tmp_path / "ImageNet-C" / "noise" / "gaussian_noise" / "3")
    data = evaluation_data(DataSettings(dataset="imagenet", data_dir=tmp_path / "gaussian_noise-3"), None,
                           torch.device("cpu"))
    (batch,) = data.source.in_order(2)
    assert data.classes == ("n01440764", "n01443537")
    assert batch.images.shape == (2, 3, 224, 224)


@given(st.sampled_from(NAMES), st.sampled_from(SEVERITIES))
def test_names_are_read_as_they_are_written(name: str, severity: int) -> None:
    assert parse_corruption(str(Corrupted(name, severity))) == Corrupted(name, severity)


@pytest.mark.parametrize(("text", "said"), [
    ("gausian-noise:3", "did you mean 'gaussian-noise'"), ("fog", "a severity from 1 to 5 behind the name, such as "
     "fog:3"), ("fog:6", "a severity"), ("fog:0", "a severity"), ("fog:2.5", "a severity"), (":3", "expected one of")])
def test_a_corruption_that_does_not_exist(text: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        parse_corruption(text)
    assert CORRUPTIONS


def test_a_corruption_has_five_levels_and_says_what_it_does() -> None:
    with pytest.raises(RnabenchError, match="expected 5 levels and a sentence"):
        corruption("new", 1, 2, 3)(lambda images, level, numbers: images)
    assert "new" not in CORRUPTIONS
