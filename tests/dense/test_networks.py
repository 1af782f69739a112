"""Targets, what networks see, and their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from rnabench.dense.dag import dense_adversary, wrong_class_of
from rnabench.dense.detection import Detection
from rnabench.dense.folder import Example
from rnabench.dense.segmentation import Segmentation, mean_iou
from rnabench.dense.weights import build
from tests.dense.subjects import CLASSES, DETECTS, lively_segmentation, take_statistics

GAMMA = 2 / 255


def example(image: Tensor, mask: Tensor | None = None, boxes: Any = (), labels: Any = ()) -> Example:
    return Example("", 0, image, mask, torch.tensor(boxes).float().view(-1, 4), torch.tensor(labels, dtype=torch.int64))


def by_sets(right: NDArray[Any], predicted: NDArray[Any], classes: int) -> float:
    """Mean IoU, class by class, of sets of pixels."""
    shares = []
    for number in range(classes):
        there, seen = (set(np.flatnonzero((each == number) & (right != 255))) for each in (right, predicted))
        if there | seen:
            shares.append(len(there & seen) / len(there | seen))
    return float(np.mean(shares))


class Answers(Segmentation):
    """Answers what it is told."""

    def __init__(self, answer: NDArray[Any], classes: int) -> None:
        super().__init__(torch.nn.Linear(1, 1), classes)
        self.answer = answer

    def logits(self, image: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(torch.from_numpy(self.answer), self.classes).permute(2, 0, 1).float()


@given(st.integers(1, 3), st.integers(2, 5), st.integers(0, 1000))
def test_mean_iou_is_that_of_sets_of_pixels(images: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    right, predicted = random.integers(0, classes, (2, images, 4, 6))
    right[random.random(right.shape) < 0.2] = 255
    right[0, 0, 0] = 0
    seen = [Answers(predicted[k], classes).seen(torch.zeros(3, 4, 6), example(torch.zeros(3, 4, 6), torch.from_numpy(
        right[k]))) for k in range(images)]
    score = Segmentation.score(seen, 0)
    assert score.value == pytest.approx(by_sets(right.flatten(), predicted.flatten(), classes))
    assert score.low95 is not None
    assert score.high95 is not None
    assert score.low95 <= score.high95
    if images == 1:
        assert score.low95 == score.value == score.high95


def test_a_perfect_prediction_has_mean_iou_1_and_none_0() -> None:
    assert mean_iou(np.diag([5, 3, 0])) == 1
    assert mean_iou(np.array([[0, 4], [3, 0]])) == 0


def test_pixels_of_objects_are_the_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    network, image = lively_segmentation(), torch.rand(3, 32, 32, generator=generator)
    mask = torch.randint(0, CLASSES, (32, 32), generator=generator)
    mask[:2] = 255
    targets = network.targets(example(image, mask))
    assert len(targets.labels) == int(((mask > 0) & (mask < 255)).sum())
    assert torch.equal(targets.labels, mask[(mask > 0) & (mask < 255)])
    rows, columns = ((mask > 0) & (mask < 255)).nonzero(as_tuple=True)
    assert torch.equal(targets.logits_of(image)[7], network.logits(image)[:, rows[7], columns[7]])


def test_dag_on_a_segmentation_network_lowers_the_number_of_correct_pixels() -> None:
    network, image = lively_segmentation(), torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    there = example(image, network.logits(image).argmax(0))  # all of it is right
    targets = network.targets(there)
    found = dense_adversary(targets, image, wrong_class_of(CLASSES, 0, 0)[targets.labels], GAMMA, 20)
    assert found.active[0] == len(targets.labels) > 100
    assert found.active[-1] < 0.5 * found.active[0]
    clean, attacked = (Segmentation.score([network.seen(each, there)], 0).value
                       for each in (image, image + found.change))
    assert clean == 1 > attacked


@pytest.fixture(scope="module")
def detector() -> Detection:
    """Untrained, so that every proposal has about even scores for all classes; it makes images small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = build(DETECTS, 3)
        take_statistics(network.backbone)
    network.transform.min_size, network.transform.max_size = (64,), 64
    return Detection(network, 3)


def test_dag_on_a_detector(detector: Detection) -> None:
    """Targets are proposals near the box, and fall; the network is asked about the same ones all the way."""
    image = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    there = example(image, boxes=[[4, 4, 40, 28], [0, 0, 9, 9]], labels=[1, 2])
    targets = detector.targets(there)
    logits = targets.logits_of(image)
    assert len(logits) == len(targets.labels) > 10
    assert bool((logits.softmax(1).gather(1, targets.labels[:, None]) > 0.1).all())
    found = dense_adversary(targets, image, wrong_class_of(3, 0, 0)[targets.labels], GAMMA, 6)
    assert found.active[0] == int((logits.argmax(1) == targets.labels).sum()) > 10
    assert found.active[-1] == 0
    assert 0 < float(found.change.abs().max()) <= found.steps * GAMMA * (1 + 1e-4)
    assert not len(detector.targets(example(image)).labels)
    seen = detector.seen(image, there)
    assert set(seen) == {"found", "there"}
    assert len(seen["found"]["boxes"]) == len(seen["found"]["labels"]) == len(seen["found"]["scores"])


def test_more_proposals_overlap_than_the_networks_own(detector: Detection) -> None:
    """Suppression at an IoU of 0.9 leaves more than at 0.7, and one that near to each of these."""
    image = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images, features = detector._features(image)
        (usual,), _ = detector.parts.rpn(images, features)
        (dense,), _ = detector._proposals(images, features)
    assert len(dense) > len(usual)
    overlap = box_iou(dense, dense).fill_diagonal_(0)
    assert bool(box_iou(usual, dense).amax(1).ge(0.9).all())
    assert float(overlap.max()) > 0.7


def boxes(*corners: list[float]) -> dict[str, Any]:
    return {"boxes": [list(map(float, each)) for each in corners], "labels": [1] * len(corners)}


def test_mean_average_precision() -> None:
    there = boxes([0, 0, 10, 10], [20, 20, 30, 30])
    perfect = there | {"scores": [0.9, 0.8]}
    half = boxes([0, 0, 10, 10]) | {"scores": [0.9]}
    nothing = boxes() | {"scores": []}
    values = [Detection.score([{"found": found, "there": there}], 0).value for found in (perfect, half, nothing)]
    assert values[0] == pytest.approx(1)
    assert values[1] == pytest.approx(51 / 101)  # the precision is 1 at the recalls 0, 0.01, ..., 0.5
    assert values[2] == 0
    assert Detection.score([{"found": nothing, "there": boxes()}], 0).value == 0
