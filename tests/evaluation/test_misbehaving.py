"""A network that misbehaves in the middle of an evaluation: one line says where, and what is done is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rnabench.defence.foreign import ForeignModel, as_classifier
from rnabench.errors import ModelError, RnabenchError
from rnabench.model.normalizers import norm_factory
from rnabench.runtime.journal import Journal
from rnabench.settings.spaces import parse_space
from tests.helpers import Lambda, full_evaluation, random_images

DATA = random_images(10)  # in batches of 4, 4 and 2
KEYS: dict[str, object] = {"images": DATA, "attacks": ["pgd2"], "sanity": False, "protocols": ["paper"]}
SEEN = torch.from_numpy(DATA.images[:4]).permute(0, 3, 1, 2) / 255


class Late(nn.Module):
    """The first ten pixels as logits; or else, from batch `late` of the attack on, what `otherwise` makes of them."""

    def __init__(self, otherwise: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.otherwise, self.late = otherwise, False

    def forward(self, x: Tensor) -> object:
        logits = 3 * x.flatten(1)[:, :10]
        return self.otherwise(logits) if self.late else logits


def raising(error: BaseException) -> Callable[[Tensor], object]:
    def fail(logits: Tensor) -> object:
        raise error
    return fail


def after_batches(network: Late, count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """The journal of an evaluation whose network is another one after so many batches of its attack."""
    journal, append = Journal(folder / "progress", "digest"), Journal.append

    def counted(self: Journal, key: tuple[str, ...], batch: dict[str, object]) -> None:
        append(self, key, batch)
        network.late = len([each for each in self.batches() if each["attack"] == "pgd2"]) >= count
    monkeypatch.setattr(Journal, "append", counted)
    return journal


@pytest.mark.parametrize(("otherwise", "words"), [
    (raising(ValueError("boom\nboom")), "ValueError: boom boom"), (raising(SystemExit(0)), "SystemExit: 0"),
    (raising(GeneratorExit()), "GeneratorExit"), (raising(StopIteration()), "StopIteration"),
    (raising(RecursionError("deep")), "RecursionError: deep"), (lambda logits: None, "returned NoneType for 4 images"),
    (lambda logits: logits[0], r"returned \(10,\) for 4 images"), (lambda logits: logits[:, :5], "returned 5 classes"),
    (lambda logits: logits.to(torch.complex64), "returned logits of kind strided complex64"),
    (lambda logits: logits.detach().to_sparse(), "returned logits of kind sparse_coo float32"),
    (lambda logits: logits * torch.nan, "logits are not finite"),
], ids=["raises", "exits", "generator exit", "stop iteration", "recursion", "none", "a vector", "classes", "complex",
        "sparse", "nan"])
def test_one_line_says_where_and_what_is_done_is_kept(otherwise: Callable[[Tensor], object], words: str,
                                                     tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Late(otherwise)
    model = ForeignModel(network, SEEN, 10).eval()
    journal = after_batches(network, 1, tmp_path, monkeypatch)
    with pytest.raises(RnabenchError, match=f"^pgd2 / any, 4 of 10 images: .*{words}") as error:
        full_evaluation(model, tmp_path, **KEYS)
    assert "\n" not in str(error.value)
    assert [each["attack"] for each in journal.batches()] == ["natural"] * 3 + ["pgd2"]
    network.late = False
    monkeypatch.undo()
    went_on, whole = full_evaluation(model, tmp_path, **KEYS), full_evaluation(model, **KEYS)
    assert [a.correct.tolist() for a in went_on.outcomes] == [b.correct.tolist() for b in whole.outcomes]


def test_a_last_batch_that_is_too_small_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnabench.evaluation.engine._Run.announce", lambda self, todo: None)  # times few images

    def forward(x: Tensor) -> Tensor:
        if len(x) < 4:
            raise RuntimeError("expected 4 values per channel")
        return 3 * x.flatten(1)[:, :10]

    model = ForeignModel(Lambda(forward), SEEN, 10).eval()
    with pytest.raises(ModelError, match=r"natural / any, 8 of 10 images: model: failed on images of shape \[2, 3, 8, "
                                         r"8\]: RuntimeError: expected 4 values per channel"):
        full_evaluation(model, tmp_path, **KEYS)
    assert len(Journal(tmp_path / "progress", "digest").batches()) == 2


class InPlace(nn.Module):
    """Somebody's network with our choice layers, that changes what it is given."""

    def __init__(self, otherwise: Callable[[Tensor], object] = lambda x: x) -> None:
        super().__init__()
        self.norm, self.otherwise = norm_factory(parse_space("bn+in"))(3), otherwise

    def forward(self, x: Tensor) -> object:
        x -= 0.5
        return self.otherwise(self.norm(x).flatten(1)[:, :10])


def test_clean_images_are_out_of_its_reach_also_where_it_has_choice_layers() -> None:
    images = SEEN.clone()
    classifier, _ = as_classifier(InPlace().eval(), images, 10)
    assert not isinstance(classifier, ForeignModel)
    path, asked = classifier.space.sample(torch.Generator().manual_seed(0)), images.clone().requires_grad_()
    with torch.no_grad():
        logits = classifier.on(path)(images)
    assert torch.equal(images, SEEN)
    assert torch.equal(classifier.on(path)(asked), logits)


def test_so_are_errors_of_one_with_choice_layers_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = InPlace()
    classifier, _ = as_classifier(network.eval(), SEEN, 10)
    monkeypatch.setattr("rnabench.evaluation.engine._Run.announce", lambda self, todo: None)
    network.otherwise = lambda x: sys.exit(0)
    with pytest.raises(ModelError, match="natural / any, 0 of 10 images: model: failed with SystemExit: 0"):
        full_evaluation(classifier, tmp_path, **KEYS)
