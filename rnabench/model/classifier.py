"""The deployed defence as a module: [0, 1] images in, logits out, a fresh path drawn inside every forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.norm.held import held
from rnabench.norm.layers import norm_layers
from rnabench.path.choice import PathLayer, PathNotSet, choices_of, use_choices, use_path
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.seeding import stream
from rnabench.settings.base import Precision


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """The whole model in one mode inside the block; afterwards every module is in the mode that it was in."""
    def restore(before: dict[nn.Module, bool]) -> None:
        for module, mode in before.items():
            module.training = mode

    with held(model, "training", lambda: {module: module.training for module in model.modules()},
              lambda: model.train(training), restore):
        yield


Granularity = Literal["batch", "sample"]


class Recorded(Protocol):
    """Passes that are replayed."""

    def __call__(self, images: Tensor, choices: Tensor) -> Tensor: ...

    def forget(self) -> None: ...


class FixedPath(nn.Module):
    """The deterministic view of a randomised classifier on one path; what third-party attacks are pointed at."""

    def __init__(self, classifier: RandomizedClassifier, path: Path) -> None:
        super().__init__()
        self.classifier, self.path = classifier, path
        self.choices = choices_of(classifier, path, as_tensor=classifier.tensor_paths)

    @property
    def training(self) -> bool:
        """The classifier's mode, so that attack libraries, which restore the mode that they find, restore that one."""
        return self.classifier.training

    @training.setter
    def training(self, mode: bool) -> None:
        """Nothing: `train` and `eval` go on to the classifier."""

    def forward(self, x: Tensor) -> Tensor:
        if self.path.per_sample and len(self.path.choices) != len(x):
            raise InvalidValue("path", f"{len(self.path.choices)} rows", f"1 row or {len(x)}, one per image")
        if self.classifier.recorded is not None:
            return self.classifier.recorded(x, self.path.choices)
        with use_choices(self.choices):
            logits: Tensor = self.classifier(x)
        return logits


class RandomizedClassifier(nn.Module):
    """Draws a path from its own generator in every forward; inside `use_path` it runs on that path instead.

    A network without choice layers is the special case of a single path. `forward` maps images [N, 3, H, W] in
    [0, 1] to logits [N, classes].
    """

    def __init__(
        self, network: nn.Module, seed: int = 0, granularity: Granularity = "batch", layer_based: bool = False
    ) -> None:
        super().__init__()
        self.network, self.granularity, self.layer_based = network, granularity, layer_based
        self.precision: Precision = "fp32"
        self.tensor_paths = False  # whether paths reach the layers as tensors: one graph then serves all paths
        self.recorded: Recorded | None = None  # inside rnabench.model.recorded.recorded_passes
        self.space = PathSpace.of(self)
        self.reseed(seed)

    @property
    def batch_dependent(self) -> bool:
        """Whether a prediction depends on the image's batch mates: in evaluation mode some normaliser takes statistics
        of the batch."""
        return any(norm.mixes_batch_at_inference for norm in norm_layers(self).values())

    @property
    def on_host(self) -> bool:
        """Whether a part of it, which says so, works on the CPU whatever the device: such a network is not recorded."""
        return any(getattr(module, "on_host", False) for module in self.network.modules())

    def reseed(self, seed: int) -> None:
        """Restart the stream that forward draws its paths from."""
        self.generator = stream(seed, "classifier")

    def on(self, path: Path) -> FixedPath:
        """The deterministic network on that path (one row, or one row per image of the batch)."""
        return FixedPath(self, path)

    def compile_network(self) -> None:
        """Compile the network, once for all paths."""
        self.network.compile()
        self.tensor_paths = True

    def forward(self, x: Tensor) -> Tensor:
        if self._path_is_set or not self.space.layers:
            return self._logits(x)
        with use_path(self, self._draw(len(x)), as_tensor=self.tensor_paths):
            return self._logits(x)

    @property
    def _path_is_set(self) -> bool:
        """Whether this thread has set a path; asked of the model's own layer, which in a replica is the replica's."""
        first = self.space.layers[:1]
        return any(cast(PathLayer, self.get_submodule(name)).current is not None for name in first)

    def _draw(self, images: int) -> Path:
        return self.space.sample(self.generator, images if self.granularity == "sample" else 1)

    def _logits(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits: Tensor = self.network(x)
        if x.requires_grad and torch.is_grad_enabled() and not logits.requires_grad:
            # something in the network lets no gradient through: the same logits, with a gradient of zero
            return logits + (0 * x).flatten(1).sum(1, keepdim=True)
        return logits

    def _replicate_for_data_parallel(self) -> RandomizedClassifier:
        """Called by DataParallel in every forward, for each device.

        The replicas run in threads: with a shared generator, which of them draws first would be a matter of luck.
        """
        if self._path_is_set:
            raise PathNotSet("DataParallel runs in other threads, where no path is set; give it model.on(path)")
        replica: RandomizedClassifier = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica.reseed(int(torch.randint(2**62, (), generator=self.generator)))
        return replica
