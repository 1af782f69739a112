"""Image files as others leave them: the right pixels, or one line that names the file."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from rnabench.data.folder import cache_folder
from rnabench.data.image_files import list_images, open_image
from rnabench.data.images import ImageSet
from rnabench.data.sources import load_images
from rnabench.data.streaming import ImageFiles, StreamingSource
from rnabench.dense.folder import BOXES, MASKS, DenseFolder
from rnabench.errors import DataUnavailable
from rnabench.runtime.files import sha256
from rnabench.settings.datasets import DataSettings
from tests.data.test_data import CPU, in_folder, write_folder

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 4), dtype=np.uint8)


def png(width: int, height: int, rows: bytes, depth: int, colour: int) -> bytes:
    """A PNG written by hand: `rows` has a filter byte before each row."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def read(file: Path, content: bytes) -> NDArray[np.uint8]:
    file.write_bytes(content)
    return np.asarray(open_image(file))


def read_all(root: Path, dataset: str) -> None:
    if dataset == "folder":
        load_images(in_folder(root), "test")
    else:
        list(StreamingSource(ImageFiles.of(root, "test", size=16), CPU, workers=0).in_order(4))


def test_sixteen_bits_of_grey_are_scaled_as_those_of_colours_are(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (5, 4), dtype=np.uint16)

    def rows(channels: int) -> bytes:
        return b"".join(b"\0" + np.repeat(row, channels).astype(">u2").tobytes() for row in deep)

    grey = read(tmp_path / "grey.png", png(4, 5, rows(1), depth=16, colour=0))
    coloured = read(tmp_path / "coloured.png", png(4, 5, rows(3), depth=16, colour=2))
    map_of_grey = read(tmp_path / "grey.ppm", b"P5 4 5 65535\n" + deep.astype(">u2").tobytes())
    np.testing.assert_allclose(grey / 255, deep[..., None].repeat(3, 2) / 65535, atol=1 / 255)
    assert np.array_equal(grey, coloured)
    assert np.array_equal(grey, map_of_grey)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "webp", "ppm"])
def test_eight_bits_survive_in_every_mode(mode: str, kind: str, tmp_path: Path) -> None:
    """Whatever way a grey image is written, it is read as that grey, where the kind of file loses nothing."""
    grey = GREY if mode != "1" else (GREY > 127).astype(np.uint8) * 255
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey)
        image = (image.convert("RGB") if mode == "CMYK" else image).convert(mode, dither=Image.Dither.NONE)
    if (mode, kind) == ("I;16", "webp"):
        pytest.skip("Pillow writes it white")
    try:
        image.save(tmp_path / f"image.{kind}", **({"lossless": True} if kind == "webp" else {}))
    except (OSError, KeyError, ValueError):
        pytest.skip(f"there is no {kind} of mode {mode}")
    found = np.asarray(open_image(tmp_path / f"image.{kind}"))
    if kind == "jpeg":
        with Image.open(tmp_path / "image.jpeg") as opened:
            assert np.array_equal(found, np.asarray(opened.convert("RGB")))
    else:
        assert np.array_equal(found, grey[..., None].repeat(3, 2))


BAD = {
    "bomb.png": png(40_000, 40_000, b"\0", depth=8, colour=2),
    "bomb.ppm": b"P6 40000 40000 255\n" + b"\0" * 99,
    "junk.ppm": b"P6 junk \xff\n",
    "long.ppm": b"P6 " + b"9" * 99 + b" 1 255\n",
    "empty.png": b"",
    "nothing.ppm": b"P6 0 0 255\n",
    "cut.png": png(4, 5, b"\0" * 65, depth=8, colour=2)[:-30],
    "fractions.ppm": b"Pf 4 5 -1.0\n" + b"\0" * 80,
    "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 5\n%%EndComments\nshowpage\n",
    "none.png": png(0, 0, b"", depth=8, colour=2),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("dataset", ["folder", "imagenet"])
def test_what_is_no_image_is_named_in_one_line(name: str, dataset: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images")
    (root / "test" / "dog" / name).write_bytes(BAD[name])
    with pytest.raises(DataUnavailable, match=f"dog/{name}") as caught:
        read_all(root, dataset)
    assert "\n" not in str(caught.value)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_read_as_pillow_reads_them_or_named(data: st.DataObject) -> None:
    mode, kind = data.draw(st.sampled_from(["1", "L", "P", "RGB", "RGBA", "CMYK", "LA"])), data.draw(
        st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "PPM"]))
    buffer = io.BytesIO()
    try:
        Image.fromarray(GREY).convert("RGB").convert(mode).save(buffer, kind)
    except (OSError, KeyError, ValueError):
        return
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    file = cache_folder().with_name(f"damaged.{kind.lower()}")  # type: ignore[union-attr] # the tests' own folder
    file.write_bytes(content)
    said = ""
    try:
        found = np.asarray(open_image(file))
    except DataUnavailable as error:
        said = str(error)
    if said:
        assert file.name in said
        assert "\n" not in said
    else:
        with Image.open(file) as opened:
            depth = "I" if opened.mode.startswith("I") else opened.mode
            assert depth == "I" or np.array_equal(found, np.asarray(opened.convert("RGB")))


def test_an_image_that_would_be_made_too_large_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images")
    Image.fromarray(np.zeros((10_000, 1, 3), dtype=np.uint8)).save(root / "test" / "dog" / "thin.png")
    with pytest.raises(DataUnavailable, match=r"dog/thin.png.* 1x10000"):
        list(StreamingSource(ImageFiles.of(root, "test", size=224), CPU, workers=0).in_order(4))


@pytest.mark.parametrize("damage", ["loop", "link to nothing", "folder", "pipe", "empty class", "class name"])
def test_a_folder_that_is_not_as_it_should_be_is_named_in_one_line(damage: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images")
    test, named = root / "test", "odd"
    if damage == "loop":
        (test / "odd").symlink_to(test / "even")
        (test / "even").symlink_to(test / "odd")
        named = "odd|even"
    elif damage == "link to nothing":
        (test / "dog" / "odd.png").symlink_to(test / "nowhere")
    elif damage == "pipe":
        os.mkfifo(test / "dog" / "odd.png")
    elif damage == "folder":
        (test / "dog" / "odd.png").mkdir()
    elif damage == "empty class":
        (test / "odd").mkdir()
    else:
        (test / "dog").rename(test / os.fsdecode(b"odd\xff"))
    for dataset in ("folder", "imagenet"):
        with pytest.raises(DataUnavailable, match=named) as caught:
            load_images(DataSettings(dataset=dataset, data_dir=root), "test")
        assert "\n" not in str(caught.value)


def test_files_may_have_any_name_and_any_number(tmp_path: Path) -> None:
    root, renamed = write_folder(tmp_path / "images"), write_folder(tmp_path / "renamed")
    (renamed / "test" / "cat" / "0000.png").rename(renamed / "test" / "cat" / os.fsdecode(b"0000\xff.png"))
    long = write_folder(tmp_path / "long", numbered=True)
    next((long / "test" / "cat").iterdir()).rename(long / "test" / "cat" / f"{10**19}.png")
    one, other, numbered = (load_images(in_folder(folder), "test") for folder in (root, renamed, long))
    assert np.array_equal(one.images, other.images)
    assert numbered.indices.tolist() == list(range(12))
    assert ImageFiles.of(renamed, "test", size=16).fingerprint()


@pytest.mark.parametrize("damage", ["zero bytes", "junk", "cut header", "fewer images", "other numbers",
                                    "fewer channels", "pickled"])
def test_a_bad_cache_is_made_anew_even_if_its_hash_is_right(
        damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNABENCH_CACHE", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "images")
    first = load_images(in_folder(folder), "test").fingerprint()
    (array,) = (tmp_path / "cache").glob("*.npy")
    content, images = array.read_bytes(), np.load(array)
    cut = content[:8] + b"\x10\0" + content[10:26]
    junk = {"zero bytes": b"", "junk": b"PK\x03\x04 junk", "cut header": cut}
    if damage in junk:
        array.write_bytes(junk[damage])
    else:
        np.save(array, {"fewer images": images[:-1], "other numbers": images.astype(np.float32), "pickled": np.array(
            [object()]), "fewer channels": images[..., :1]}[damage], allow_pickle=True)
    array.with_suffix(".sha256").write_text(sha256(array))
    assert load_images(in_folder(folder), "test").fingerprint() == first
    assert array.read_bytes() == content


def test_a_user_without_a_home_folder_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("RNABENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_folder() is None
    images = load_images(in_folder(write_folder(tmp_path / "images")), "test")
    assert isinstance(images, ImageSet)
    assert len(images) == 12


@pytest.mark.parametrize("name", BAD)
def test_bad_images_and_masks_of_dense_folders_are_named(name: str, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((5, 4), dtype=np.uint8)).save(tmp_path / folder / "fine.png")
    (tmp_path / "masks" / "fine.png").write_bytes(BAD[name])
    with pytest.raises(DataUnavailable, match=r"masks/fine\.png") as caught:
        DenseFolder(tmp_path, [MASKS], classes=2)
    assert "\n" not in str(caught.value)
    (tmp_path / "boxes.json").write_text("[" * 100_000)
    with pytest.raises(DataUnavailable, match=r"boxes\.json"):
        DenseFolder(tmp_path, [BOXES], classes=2)


def test_classes_are_listed_once(tmp_path: Path) -> None:
    """A link from one class to another is a class of its own, as its name is."""
    root = write_folder(tmp_path / "images")
    (root / "test" / "fox").symlink_to(root / "test" / "dog")
    classes, files = list_images(root, "test")
    assert classes == ("cat", "dog", "eel", "fox")
    assert len(files) == 16
