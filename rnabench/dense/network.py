"""What DAG and the scores see of a network for dense prediction: its targets in an image, and what it sees there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from rnabench.dense.folder import Example

Seen = dict[str, Any]
"""What a network saw in an image beside what is there, as JSON keeps it: all that its score needs."""


@dataclass(frozen=True)
class Targets:
    """What is classified in one image, and is to be misclassified: the right classes int64 [T] (T may be 0), and the
    logits [T, classes] of an image [3, H, W], differentiable."""

    labels: Tensor
    logits_of: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Score:
    """In [0, 1], with a 95 % interval over images where there is one."""

    value: float
    low95: float | None = None
    high95: float | None = None


class DenseNetwork(ABC):
    """A torchvision network in evaluation mode, its parameters frozen, for one image [3, H, W] in [0, 1] at a time.

    `needs` names the part of a folder that says what is in the images, `measure` the score, `steps` is the thesis's
    M0, `libraries` are what need not be installed for other networks. Class 0 is the background, whose targets are
    left alone (the thesis, footnote of section 2.3.3).
    """

    needs: ClassVar[str]
    measure: ClassVar[str]
    steps: ClassVar[int]
    libraries: ClassVar[tuple[str, ...]] = ()

    def __init__(self, network: nn.Module, classes: int) -> None:
        self.network, self.classes = network.eval().requires_grad_(False), classes

    @abstractmethod
    def targets(self, example: Example) -> Targets:
        """What DAG attacks in an image, chosen on the image as it is."""

    @abstractmethod
    def seen(self, image: Tensor, example: Example) -> Seen:
        """What it sees in `image`, a version of the example's."""

    @classmethod
    @abstractmethod
    def score(cls, seen: Sequence[Seen], seed: int) -> Score:
        """Over all images; needs the `libraries`."""
