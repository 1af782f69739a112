"""Feature denoising (the thesis, chapter 4): blocks that filter the maps of a network where its stages end, or all of
its residual blocks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.ends import End
from rnabench.model.normalizers import batch_norm
from rnabench.model.operators import SeparateChoice
from rnabench.settings.parts import DENOISERS, NONE, Part, denoisers

DenoiseAt = Literal["stages", "blocks"]


class DenoisingBlock(nn.Module):
    """z = x + BN(W D(x)) on maps [N, C, H, W] (Figure 4.4): D a denoising operation, W a 1x1 convolution without bias.

    The BN's scale starts at 0, as in the thesis' code: the block starts as the identity. `ending` says what it leaves
    out: `-no-1x1` W and its BN, so that z = x + D(x); `-no-bn` the BN; `-no-residual` x, and then the scale starts
    at 1.
    """

    def __init__(self, channels: int, operation: nn.Module, ending: str = "") -> None:
        super().__init__()
        self.operation, self.residual = operation, ending != "-no-residual"
        after = OrderedDict[str, nn.Module]()
        if ending != "-no-1x1":
            after["conv"] = convolution = nn.Conv2d(channels, channels, 1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        if ending not in ("-no-1x1", "-no-bn"):
            after["norm"] = norm = batch_norm(channels)
            if self.residual:
                nn.init.zeros_(norm.weight)
        self.after = nn.Sequential(after)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.after(self.operation(x))
        return x + out if self.residual else out


def add_denoising(network: nn.Module, denoise: str, at: DenoiseAt, arch: str = "this network") -> None:
    """Put these blocks where the network's stages end, or all of its residual blocks: a choice layer where they are
    several joined by `+`. Their weights come from torch's global generator.

    Raises InvalidValue for what is no denoiser, and for a network that does not say where those places are.
    """
    parts = denoisers(denoise)
    if [part.label for part in parts] == [NONE]:
        return
    ends = {name: module for name, module in network.named_modules() if isinstance(module, End)}
    if not ends:
        raise InvalidValue("denoise", denoise, f"{NONE!r}: {arch} has no stages, behind which blocks stand", [NONE])
    chosen = {name: end for name, end in ends.items() if (end.of_stage if at == "stages" else end.of_block)}
    if not chosen:
        raise InvalidValue("denoise_at", at, f"'stages': {arch} has no residual blocks")
    for name, end in chosen.items():
        options = {part.label: _option(part, end.channels, at == "blocks") for part in parts}
        network.set_submodule(name, SeparateChoice(options) if len(options) > 1 else next(iter(options.values())))


def _option(part: Part, channels: int, pooled: bool) -> nn.Module:
    if part.kind == NONE:
        return nn.Identity()
    return DenoisingBlock(channels, DENOISERS[part.kind].build(channels, pooled), part.ending)
