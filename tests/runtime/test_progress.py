"""What a long run tells while it works: never silent, never back, and all at the end."""

from __future__ import annotations

import time

import pytest

from rnabench.runtime.progress import Lines, Silent, WithinBatch, about, per_second


class Bar(Silent):
    def __init__(self) -> None:
        self.steps: list[float] = []

    def advance(self, images: float, note: str = "") -> None:
        self.steps.append(images)


@pytest.mark.parametrize("passes", [[0.0], [1.0] * 30, [7.0] * 30, [0.1] * 1000, [1000.0]],
                         ids=["none", "as expected", "more", "many", "one"])
@pytest.mark.parametrize("images", [1, 3, 128])
def test_a_batch_ends_at_just_all_its_images_however_many_passes_it_took(passes: list[float], images: int) -> None:
    bar = Bar()
    batch = WithinBatch(bar, images, 30.0)
    for each in passes:
        batch.passed(images * each)
    assert all(step > 0 for step in bar.steps)
    assert sum(bar.steps) <= images
    batch.finish()
    assert sum(bar.steps) == images


def test_half_of_the_passes_are_half_of_the_batch() -> None:
    bar = Bar()
    batch = WithinBatch(bar, 8, 10.0)
    for _ in range(5):
        batch.passed(8.0)
    assert sum(bar.steps) == pytest.approx(4, abs=0.1)
    assert len(bar.steps) == 5


def told(seconds: float, quiet: float = 0.02) -> list[str]:
    said: list[str] = []
    with Lines(said.append, quiet) as lines:
        lines.begin("epoch 1/2", 100)
        lines.advance(25.5, "held-out 10.0%")
        time.sleep(seconds)
    return said


def test_silent_work_is_spoken_up_for() -> None:
    said = told(1.0)
    assert len(said) > 2
    assert all(line.startswith("epoch 1/2: 25/100 images") and "left" in line and "held-out 10.0%" in line
               for line in said)


def test_also_before_it_has_a_name() -> None:
    said: list[str] = []
    with Lines(said.append, 0.02):
        time.sleep(0.5)
    assert said[0].startswith("getting ready")


def test_who_was_heard_just_now_is_not_spoken_up_for() -> None:
    assert told(0.1, quiet=60.0) == []


def test_nothing_is_said_after_the_end_or_to_nobody() -> None:
    said: list[str] = []

    def gone(text: str) -> None:
        said.append(text)
        raise BrokenPipeError

    with Lines(gone, 0.02):
        time.sleep(0.3)
    before = len(said)
    time.sleep(0.1)
    assert len(said) == before > 0


def test_what_takes_seconds_is_not_timed_to_the_second() -> None:
    assert about(3) == "a few seconds"
    assert about(720) == "about 12 min"
    assert about(720, 8).startswith("about 12 min on an idle machine, ")


@pytest.mark.parametrize(("rate", "words"), [(12345.6, "12,346 images/s"), (0.314, "0.31 images/s")])
def test_slow_work_has_a_speed_too(rate: float, words: str) -> None:
    assert per_second(rate) == words
