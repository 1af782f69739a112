"""Where the residual blocks and the stages of a network end: where a denoising block can stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor, nn


class End(nn.Module):
    """Does nothing, and holds no tensors. Maps [N, channels, H, W] go through it at the end of a residual block, of a
    stage, or of both."""

    def __init__(self, channels: int, *, of_block: bool, of_stage: bool) -> None:
        super().__init__()
        self.channels, self.of_block, self.of_stage = channels, of_block, of_stage

    def forward(self, x: Tensor) -> Tensor:
        return x


def with_ends(blocks: Iterable[tuple[nn.Module, int]], last_of_stage: Collection[int]) -> nn.Sequential:
    """Residual blocks, each with the number of channels that it sends out, in a row, each followed by its end;
    `last_of_stage`: numbers of those that end a stage too. Block k is named k, as in a Sequential of blocks alone."""
    row = nn.Sequential()
    for number, (block, channels) in enumerate(blocks):
        row.add_module(str(number), block)
        row.add_module(f"end{number}", End(channels, of_block=True, of_stage=number in last_of_stage))
    return row
