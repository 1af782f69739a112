"""While an attack works on a batch, its progress moves; and telling of it changes no number."""

from __future__ import annotations

import pytest

from rnabench.runtime.progress import Silent
from tests.helpers import full_evaluation, lively_model, random_images, run_evaluation


class Bar(Silent):
    """Where a bar stood, for each piece of work."""

    def __init__(self) -> None:
        self.shown: dict[str, list[float]] = {}

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done = title, total, float(done)
        self.shown[title] = [self.done / total]

    def advance(self, images: float, note: str = "") -> None:
        self.done += images
        self.shown[self.title].append(self.done / self.total)


@pytest.mark.parametrize("keys", [
    {"attacks": ["fgsm", "pgd5", "mifgsm", "apgd-ce", "square20", "cw5", "deepfool5"]},
    {"attacks": ["pgd5"], "norm": "L2", "eps": 0.5},
    {"attacks": ["pgd5", "fgsm"], "backend": "torchattacks"},
    {"attacks": ["pgd5"], "granularity": "sample"},
], ids=["ours", "L2", "torchattacks", "sample"])
def test_an_attack_of_one_batch_moves_from_nothing_to_all(keys: dict[str, object]) -> None:
    bar = Bar()
    protocols = ["paper"] if keys.get("backend") else ["paper", "eot:3"]
    full_evaluation(lively_model(), images=random_images(6), progress=bar, sanity=False, batch_size=8,
                    protocols=protocols, **keys)
    assert len(bar.shown) == 1 + len(protocols) * len(keys["attacks"])  # type: ignore[arg-type]
    for title, shown in bar.shown.items():
        assert (shown[0], shown[-1]) == (0, 1), title
        assert shown == sorted(shown), title
        assert len({share for share in shown if 0 < share < 1}) > 1, title


def test_so_does_what_is_left_of_a_cumulative_attack() -> None:
    bar = Bar()
    full_evaluation(lively_model("bn"), progress=bar, sanity=False, attacks=["pgd2@1/255", "pgd2@8/255"],
                    cumulative=True, eps=8 / 255)
    assert all((shown[0], shown[-1]) == (0, 1) and shown == sorted(shown) for shown in bar.shown.values())


def test_who_listens_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"attacks": ["pgd3", "apgd-ce"], "protocols": ["paper", "eot:2"]}
    heard = full_evaluation(lively_model(), progress=Bar(), sanity=False, **keys).outcomes
    monkeypatch.setattr("rnabench.evaluation.engine._Run.announce", lambda self, todo: None)
    plain = run_evaluation(lively_model(), **keys)
    for one, other in zip(heard, plain, strict=True):
        assert one.correct.tolist() == other.correct.tolist()
        assert one.reported.tolist() == other.reported.tolist()
