"""How long it takes: the same on a busy machine as on an idle one, and how busy it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from rnabench.evaluation import cost
from rnabench.evaluation.attacker import Attacker
from rnabench.evaluation.cost import speed, timed
from rnabench.runtime.progress import in_words, with_load
from rnabench.settings.evaluation import EvaluationSettings
from tests.helpers import lively_model, random_images


class Clocks:
    """Two clocks of a machine on which this process has a core for one of every `share` seconds."""

    def __init__(self, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.worked, self.share = 0.0, share
        monkeypatch.setattr(cost, "time", SimpleNamespace(
            thread_time=lambda: self.worked, perf_counter=lambda: self.worked * self.share))
        monkeypatch.setattr(cost, "_wait", lambda on_cuda: None)

    def work(self, seconds: float) -> Callable[[], None]:
        def case() -> None:
            self.worked += seconds

        return case


@pytest.mark.skipif(sys.platform == "win32", reason="knows no fine clock of a thread")
@pytest.mark.parametrize("share", [1, 1.2, 8])
def test_what_else_runs_changes_the_wall_time_and_not_the_estimate(share: float, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    clocks = Clocks(share, monkeypatch)
    assert timed(clocks.work(0.3), on_cuda=False) == pytest.approx((0.3, 0.3 * share))
    assert timed(clocks.work(0.3), on_cuda=True) == pytest.approx((0.3 * share, 0.3 * share))


@pytest.mark.skipif(sys.platform == "win32", reason="knows no fine clock of a thread")
def test_a_thread_without_a_core_does_not_count() -> None:
    own, wall = timed(lambda: time.sleep(0.05), on_cuda=False)
    assert own < 0.025 < 0.05 <= wall


@pytest.mark.skipif(sys.platform == "win32", reason="knows no fine clock of a thread")
def test_beside_load_threads_that_wait_for_each_other_count_at_most_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks, threads = Clocks(8, monkeypatch), [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)

    def case() -> None:
        clocks.worked += 0.3 if threads[-1] == 1 else 0.9

    assert timed(case, on_cuda=False) == pytest.approx((0.3, 0.3 * 8))
    assert threads == [4, 1, 4]


def test_speed_is_per_image_and_says_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnabench.data.batches import ResidentSource

    (batch,) = ResidentSource(random_images(12), torch.device("cpu")).in_order(12)
    attacker = Attacker(lively_model(), EvaluationSettings.model_validate({"attacks": ["fgsm"]}), 10)
    times = iter([(3.6, 7.2), (1.2, 2.4)])
    monkeypatch.setattr(cost, "timed", lambda case, on_cuda: next(times))
    assert speed(attacker, batch) == cost.Speed(pytest.approx(0.3), pytest.approx(0.1), pytest.approx(2))


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 min"), (3.5 * 3600, "3.5 h")])
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
    assert with_load(seconds, 1.2 * seconds) == words
    assert with_load(seconds, 8 * seconds).startswith(f"{words} on an idle machine, {in_words(8 * seconds)} ")
