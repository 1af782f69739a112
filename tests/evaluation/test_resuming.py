"""An evaluation that is stopped within a batch, or killed there, goes on there, to the outcomes of one piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from rnabench.attack.resumable import Bookmark, Kept, opened, resumable
from rnabench.defence.foreign import ForeignModel
from rnabench.evaluation import resuming
from rnabench.evaluation.engine import Evaluation
from rnabench.evaluation.resuming import ENDING, one_batch
from rnabench.path.path import Path as ModelPath
from rnabench.runtime.journal import Journal
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.seeding import ExampleStreams
from tests.defence.networks import noisy
from tests.helpers import AfterSteps, full_evaluation, lively_model, random_images

MODEL, DATA = lively_model(layers=2), random_images(5)
FIXED: dict[str, object] = {"sanity": False, "images": DATA, "batch_size": 3, "draws": 3}


def foreign() -> ForeignModel:
    """Its draws are seeds of torch's global generator, for a group of images each: a batch is in several parts."""
    images = torch.from_numpy(DATA.images[:4]).permute(0, 3, 1, 2) / 255
    return ForeignModel(noisy(lambda x: 0.1 * torch.randn(len(x), 10)), images, 10).eval()


def same(first: Evaluation, second: Evaluation) -> bool:
    pairs = list(zip(first.outcomes, second.outcomes, strict=True))
    return all(np.array_equal(a.correct, b.correct) and np.array_equal(a.majority, b.majority)
               and np.array_equal(a.reported, b.reported) and (a.distances is None or np.array_equal(
                   a.distances, b.distances)) for a, b in pairs)


def in_slices(folder: Path, every: int, model: torch.nn.Module = MODEL, **keys: object) -> tuple[Evaluation, int]:
    """What a run ends with that is stopped again and again, and how often it was."""
    for stops in range(1000):
        try:
            return full_evaluation(model, folder, stop=AfterSteps(every), **keys), stops
        except Stopped:
            pass
    raise AssertionError("no end")


@pytest.mark.parametrize("keys", [
    {"attacks": ["pgd3"], "protocols": ["paper", "eot:2"]},
    {"attacks": ["square6"], "protocols": ["eot:2"], "granularity": "sample"},
    {"attacks": ["pgd2"], "protocols": ["eot:2:logits", "same-path"], "attack_paths": 2},
], ids=["groups", "samples", "fused"])
def test_a_run_in_slices_has_the_outcomes_of_one_piece(keys: dict[str, object], tmp_path: Path) -> None:
    keys = FIXED | keys
    whole = full_evaluation(MODEL, **keys)
    found, stops = in_slices(tmp_path, 4, **keys)
    assert same(found, whole)
    assert stops > 3
    assert not list((tmp_path / "progress").glob(f"*{ENDING}"))


def test_so_has_one_of_a_network_of_somebody_elses_in_its_several_parts(tmp_path: Path) -> None:
    keys = FIXED | {"attacks": ["pgd2"], "protocols": ["paper", "eot:2"], "attack_paths": 2}
    whole = full_evaluation(foreign(), **keys)
    found, stops = in_slices(tmp_path, 6, foreign(), **keys)
    assert same(found, whole)
    assert stops > 3


def test_libraries_attacks_are_left_between_their_parts(tmp_path: Path) -> None:
    keys = FIXED | {"attacks": ["pgd2"], "protocols": ["paper"], "attack_paths": 3, "backend": "torchattacks"}
    found, stops = in_slices(tmp_path, 1, **keys)
    assert same(found, full_evaluation(MODEL, **keys))
    assert stops > 3  # more than there are batches of natural and attacked images


class Pressing(StopRequest):
    """A signal that presses once that was asked so many times, and that no loop hears."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    @property
    def presses(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("backend", ["torchattacks", "native"])
def test_a_signal_that_presses_ends_what_cannot_be_left(backend: str, tmp_path: Path) -> None:
    """At the next pass; the batch is done anew, the others are kept."""
    keys = FIXED | {"attacks": ["pgd20"], "protocols": ["paper"], "attack_paths": 1, "backend": backend}
    with pytest.raises(Stopped, match="3 of 5 images"):
        full_evaluation(MODEL, tmp_path, stop=Pressing(40), **keys)
    assert same(full_evaluation(MODEL, tmp_path, **keys), full_evaluation(MODEL, **keys))


def test_images_that_are_kept_are_those_of_one_piece(tmp_path: Path) -> None:
    keys = FIXED | {"attacks": ["pgd2"], "protocols": ["paper"], "keep_images": True}
    full_evaluation(foreign(), tmp_path / "whole", **keys)
    in_slices(tmp_path / "slices", 5, foreign(), **keys)
    files = sorted((tmp_path / "whole" / "progress").glob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        with safe_open(file, "pt") as one, safe_open(tmp_path / "slices" / "progress" / file.name, "pt") as other:  # type: ignore[no-untyped-call]
            assert all(torch.equal(one.get_tensor(name), other.get_tensor(name)) for name in one.keys())  # noqa: SIM118


class Killed(BaseException):
    """Nothing is saved any more."""


class KilledAfter:
    """A defence that does not live longer than so many passes."""

    def __init__(self, passes: int) -> None:
        self.left, self.space = passes, MODEL.space

    def on(self, path: ModelPath) -> Callable[[Tensor], Tensor]:
        def logits(images: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return MODEL.on(path)(images)
        return logits


def test_a_run_that_is_killed_again_and_again_makes_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before a batch is done: by what it saves every now and then."""
    monkeypatch.setattr(resuming, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(resuming, "SHARE", 1e9)
    monkeypatch.setattr("rnabench.evaluation.engine._Run.announce", lambda self, todo: None)
    keys = FIXED | {"attacks": ["pgd20"], "protocols": ["eot:2"]}
    whole, kills = full_evaluation(MODEL, **keys), 0
    monkeypatch.setattr("rnabench.evaluation.engine.diagnose", lambda *of: None)
    while kills < 100:
        try:
            found = full_evaluation(MODEL, tmp_path, defence=KilledAfter(15), **keys)
            break
        except Killed:
            kills += 1
    assert kills > 2  # 20 steps and more, twice
    assert same(found, whole)


def test_what_is_damaged_or_of_other_work_is_begun_anew(tmp_path: Path) -> None:
    journal, key = Journal(tmp_path / "j", "digest"), ("cell",)

    def work(number: int = 0, stop: StopRequest | None = None, of: Journal = journal) -> list[int]:
        seen, kept = [], Kept(value=0)
        with one_batch(of, key, number, StopRequest() if stop is None else stop, "here"):
            for item in resumable(range(4), kept):
                seen.append(item)
        return seen

    def stop() -> bytes:
        with pytest.raises(Stopped, match="here"):
            work(stop=AfterSteps(1))
        file = journal.beside(key, ENDING)
        assert file is not None
        return file.read_bytes()

    whole, file = stop(), tmp_path / "j" / f"cell{ENDING}"
    assert work() == [2, 3]
    assert work(number=1) == [0, 1, 2, 3]
    assert work(of=Journal(tmp_path / "j", "another")) == [0, 1, 2, 3]
    for damaged in (b"", whole[:20], whole[:-1], b"\0" * 100, whole.replace(b"notes", b"texts")):
        file.write_bytes(damaged)
        assert work() == [0, 1, 2, 3]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=10)
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(VALUES, SHAPES, st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.bfloat16]),
       st.permutations(range(4)))
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, value: object,
                                          shape: tuple[int, ...], dtype: torch.dtype, order: list[int]) -> None:
    """To the order in memory: kernels for channels-last images round differently."""
    folder = tmp_path_factory.mktemp("batch")
    drawn = ExampleStreams(0, "test", indices=[0]).uniform(*shape)[0]
    tensor = (9 * drawn - 4).to(dtype).permute([axis for axis in order if axis < len(shape)])
    written = Kept(value=value, tensor=tensor, array=drawn.numpy(), inside=Kept(tensor=tensor, value=value))
    bookmark = Bookmark()
    with opened(bookmark):
        assert len(list(resumable(range(3), written))) == 3
    resuming._write(folder / "file", "work", bookmark.notes, 1.5)
    notes, seconds = resuming._read(folder / "file", "work")
    read = Kept(value=None, tensor=None, array=None, inside=Kept(tensor=None, value=None))
    with opened(Bookmark(notes)):
        assert list(resumable(range(3), read)) == []
    assert (read.value, read.inside.value, seconds) == (value, value, 1.5)
    for each in (read.tensor, read.inside.tensor):
        assert torch.equal(each, tensor)
        assert each.dtype == dtype
        assert each.stride() == tensor.clone().stride()
    assert np.array_equal(read.array, drawn.numpy())
