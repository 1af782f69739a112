"""What a normaliser is, and the paper's BGN (section 3.1), by statistics of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnabench.errors import InvalidValue, one_of
from rnabench.norm.held import held
from rnabench.norm.shared_batch import is_shared, whole
from rnabench.norm.statistics import (
    EPS,
    Source,
    Sources,
    Statistic,
    Statistics,
    sample_statistics,
    scale_shift,
    take,
    taken_from,
)
from rnabench.settings.deployment import StatisticsFrom
from rnabench.settings.spaces import NORMS, Number, Spellings


class Norm(nn.Module):
    """(x - centre) * factor over groups of channels, followed by a scale and shift per channel (eq. 3).

    A subclass declares which statistics of the input it needs and where each comes from, and turns them into centre and
    factor (`standardization`). The rest follows: its buffers, its forward pass, the one pass of a choice of norms, its
    place in `--space`, `describe`, export, and the study of eq. 5. It is built from (channels, groups), and the number
    behind its name if it takes one.
    """

    summary: ClassVar[str]
    """What it is, in one line."""
    sources: ClassVar[Sources] = take(of="sample")
    """The statistics it needs, none here: see `take`. A running average is kept of each that is of the batch in
    training: buffers `running_mean`, `running_var` and `running_range`, one value per group."""
    affine: ClassVar[bool] = True
    """Whether a scale and shift per channel are trained and saved; otherwise they are 1 and 0."""
    takes_groups: ClassVar[bool] = False
    """Whether `--space` takes a number of groups or group sizes behind its name; otherwise each channel is a group."""
    takes_number: ClassVar[Number | None] = None
    """The number that `--space` takes behind its name, as in robust0.05; none here."""
    spellings: ClassVar[Spellings] = ()
    """Names of their own for some numbers of groups, or groups of some size; without any its name stands for itself."""
    family: ClassVar[str | None] = None
    """GN or BGN, where section 3.1's definition and so eq. 5 hold. A subclass of one that computes otherwise says None,
    and has a `plain` of its own."""

    weight: Tensor
    bias: Tensor
    num_batches_tracked: Tensor
    statistics: StatisticsFrom

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.channels, self.groups = channels, groups
        self.momentum = 0.1
        self.unbiased = False
        self.update_running = True
        for name, value in (("weight", torch.ones(channels)), ("bias", torch.zeros(channels))):
            if self.affine:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)
        self.take_statistics("own")
        self.tracked = tuple(name for name, (in_training, _) in self.sources.items() if in_training == "batch")
        for statistic in self.tracked:
            start = torch.zeros(groups) if statistic == "mean" else torch.ones(groups)
            self.register_buffer(f"running_{statistic}", start)
        if self.tracked:
            self.register_buffer("num_batches_tracked", torch.tensor(0))

    def take_statistics(self, where: StatisticsFrom) -> None:
        """From now on take the statistics that are of the batch in training from there, in either mode; unless these
        are its `own` again, none of its running statistics moves. See `statistics_from`."""
        self.statistics = where
        sources = taken_from(self.sources, where)
        # by self.training; made here, since a forward pass asks every option of every layer
        self._sources = tuple({name: pair[mode] for name, pair in sources.items()} for mode in (1, 0))
        self._needs = tuple(frozenset(name for name, source in each.items() if source != "running")
                            for each in self._sources)

    @property
    def group_size(self) -> int:
        return self.channels // self.groups

    @property
    def active(self) -> Norm:
        """The norm at work: itself, or the branch that a mixture uses."""
        return self

    @property
    def taken(self) -> Mapping[Statistic, Source]:
        """Where each statistic comes from, in the mode that the layer is in."""
        return self._sources[1 if self.training else 0]  # torch 2.11 compiles no index that is a bool

    @property
    def needs(self) -> frozenset[Statistic]:
        """The statistics of the input that the result depends on, in the mode that the layer is in."""
        return self._needs[1 if self.training else 0]

    @property
    def mixes_batch(self) -> bool:
        """Whether an image's result depends on its batch mates, in the mode that the layer is in."""
        return "batch" in self.taken.values()

    @property
    def mixes_batch_at_inference(self) -> bool:
        """The same in evaluation mode, whatever mode the layer is in."""
        return "batch" in self.active._sources[0].values()

    @property
    def moves(self) -> bool:
        """Whether a forward pass, in the mode that the layer is in, moves running statistics."""
        return self._follows and self.update_running

    @property
    def _follows(self) -> bool:
        return self.training and bool(self.tracked) and self.statistics == "own"

    def standardization(self, statistics: Mapping[Statistic, Tensor]) -> tuple[Tensor, Tensor]:
        """Centre and factor by group, [., groups], from the declared statistics, each [N, groups] or [1, groups]."""
        return statistics["mean"], torch.rsqrt(statistics["var"] + EPS)

    def coefficients(self, statistics: Statistics, used: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale and shift, [N, C] or [1, C], from those statistics of the input that the layer needs.

        `used`, a boolean scalar tensor, says whether any sample uses the result: running statistics move only then.
        """
        return self.scale_and_shift(*self.standardization(self.group_statistics(statistics, used)))

    def group_statistics(self, statistics: Statistics, used: Tensor | None = None) -> dict[Statistic, Tensor]:
        """The declared statistics from their sources, each [N, groups] or [1, groups]; `used` as in `coefficients`."""
        pooled: dict[Source, dict[Statistic, Tensor]] = {}
        values: dict[Statistic, Tensor] = {}
        for name, source in self.taken.items():
            if source == "batch":
                self.expect_several(statistics.images, statistics.pixels)
            if source == "running":
                values[name] = getattr(self, f"running_{name}")[None]
                continue
            if source not in pooled:
                pooled[source] = statistics.by_group(self.groups, source == "batch")
            values[name] = pooled[source][name]
        if self._follows:
            self._follow(values, statistics, used)
        return values

    def expect_several(self, images: int, pixels: int) -> None:
        """Raises InvalidValue where statistics of the batch would be those of a single value."""
        if whole(images) * pixels * self.group_size == 1:
            raise InvalidValue("--batch-size", images, "2 images or more in every batch, the last one too: one image "
                               "on a map of 1x1 is a single value, which has no statistics to normalise by")

    def scale_and_shift(self, centre: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        """By channel, [., C], with the layer's own scale and shift, from centre and factor by group."""
        if self.group_size > 1:
            centre, factor = (each.repeat_interleave(self.group_size, 1) for each in (centre, factor))
        scale = self.weight * factor
        return scale, self.bias - centre * scale

    def _follow(self, values: dict[Statistic, Tensor], statistics: Statistics, used: Tensor | None) -> None:
        """Move the running statistics towards the `values` of a training batch, by torch's conventions: new running =
        (1 - momentum) * old + momentum * batch, with the unbiased variance. See `use_bgn_conventions` for others."""
        kept = {name: values[name].detach()[0] for name in self.tracked}
        if "var" in kept:
            images = whole(statistics.images)
            count = images * self.group_size * statistics.pixels
            kept["var"] = kept["var"] * (count / max(count - 1, 1))
            if self.unbiased:
                values["var"] = values["var"] * (count / max(count - 1, 1))
                kept["var"] = kept["var"] * (images / max(images - 1, 1))  # the released code corrects twice
        if self.update_running:
            self._track(kept, used)

    @torch.no_grad()
    def _track(self, kept: Mapping[Statistic, Tensor], used: Tensor | None) -> None:
        if used is None:
            used = torch.ones((), device=self.weight.device)
        for name, value in kept.items():
            running: Tensor = getattr(self, f"running_{name}")
            running.lerp_(value.to(running.dtype), self.momentum * used.to(value.dtype))
        self.num_batches_tracked.add_(used.long())

    def forward(self, x: Tensor) -> Tensor:
        return scale_shift(x, *self.coefficients(sample_statistics(x, self.needs)))

    def plain(self) -> nn.Module:
        """The layer of torch that computes the same at inference; itself if torch has none."""
        return self

    def extra_repr(self) -> str:
        return f"{self.channels}, groups={self.groups}" + ("" if self.affine else ", affine=False")


@NORMS.register("bgn")
class BatchGroupNorm(Norm):
    """BGN: mean and variance over the batch, a group of channels and H, W; running ones at inference. C groups are BN.

    `update_running` = False (see `frozen_statistics`) trains on batch statistics without moving the running ones.
    """

    summary = "batch group normalisation (BN: one channel per group)"
    sources = take("mean", "var", of="batch", at_inference="running")
    takes_groups = True
    spellings: ClassVar[Spellings] = (("bn", "size", 1),)
    family: ClassVar[str | None] = "BGN"

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        source = self.taken["mean"]
        if self.group_size > 1 or self.taken["var"] != source or (source == "batch" and is_shared()):
            return super().forward(x)
        # plain batch normalisation: torch's own kernel is the fastest there is
        of_batch, track = source == "batch", self.moves
        if of_batch:
            self.expect_several(len(x), x.shape[2] * x.shape[3])
        if track:
            self.num_batches_tracked.add_(1)
        mean, var = (None, None) if of_batch else (self.running_mean, self.running_var)
        if track:  # torch keeps them for a backward pass that does not read them: later changes are no fault
            mean, var = self.running_mean.data, self.running_var.data
        return F.batch_norm(x, mean, var, self.weight, self.bias, of_batch, self.momentum, EPS)

    def plain(self) -> nn.Module:
        mean, var = self._sources[0]["mean"], self._sources[0]["var"]  # at inference
        if mean != var or (mean == "batch" and self.group_size > 1):
            return self
        layer = nn.BatchNorm2d(self.channels, EPS, track_running_stats=mean == "running").to(self.weight)
        running = {name: getattr(self, name).repeat_interleave(self.group_size)
                   for name in ("running_mean", "running_var")}
        state = self.state_dict() | running
        layer.load_state_dict({name: state[name] for name in layer.state_dict()})
        return layer


def norm_layers(network: nn.Module, name: str = "") -> dict[str, Norm]:
    """The normalisers of a network by module name, every option of a choice layer too; a mixture counts once."""
    if isinstance(network, Norm):
        return {name: network}
    layers: dict[str, Norm] = {}
    for child, module in network.named_children():
        layers |= norm_layers(module, f"{name}.{child}" if name else child)
    return layers


def use_bgn_conventions(network: nn.Module, momentum: float, unbiased: bool) -> None:
    """Other conventions for the BGNs of several channels per group; one channel per group is torch's BatchNorm2d.

    `momentum` is the weight of the new batch (the released code's is 0.9). `unbiased` divides a training batch by its
    unbiased variance, and keeps that times N / (N - 1) for N images as the running one, as the released code does.
    """
    for layer in network.modules():
        if isinstance(layer, BatchGroupNorm) and layer.group_size > 1:
            layer.momentum, layer.unbiased = momentum, unbiased


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Inside the block no forward pass moves a running statistic, in training mode either; restores what was set."""
    layers = [module for module in network.modules() if isinstance(module, Norm)]

    def move(values: Iterable[bool]) -> None:
        for layer, value in zip(layers, values, strict=True):
            layer.update_running = value

    with held(network, "update_running", lambda: [layer.update_running for layer in layers],
              lambda: move([False] * len(layers)), move):
        yield


@contextmanager
def statistics_from(network: nn.Module, where: StatisticsFrom) -> Iterator[None]:
    """Inside the block statistics that are of batches in training come from there, and no running one moves; restores
    what was set. `running` in training mode is a fine-tuning with frozen statistics; `batch` in evaluation mode lets
    gradients flow through the statistics. Normalisers by an image's own statistics do not change.

    Like training and evaluation mode it is a state of the network, shared by all threads. Raises InvalidValue for
    another name.
    """
    if where not in get_args(StatisticsFrom):
        raise InvalidValue("statistics", where, one_of(get_args(StatisticsFrom)), get_args(StatisticsFrom))
    layers = [module for module in network.modules() if isinstance(module, Norm)]
    def take_from(sources: Iterable[StatisticsFrom]) -> None:
        for layer, source in zip(layers, sources, strict=True):
            layer.take_statistics(source)

    with held(network, "statistics", lambda: [layer.statistics for layer in layers],
              lambda: take_from([where] * len(layers)), take_from):
        yield
