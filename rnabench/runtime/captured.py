"""A function of tensors, recorded once as a CUDA graph and replayed: one launch where there were thousands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]
WARM_UP = 3  # runs before recording, in which libraries choose kernels and allocate their workspaces


class Captured:
    """`function`, replayed for inputs of the shapes of its first call; for other shapes it is simply called.

    It must do the same work whatever its inputs hold, look at no value on the host, and draw no random numbers: what
    changes from call to call is an input. `state` are the tensors that it changes in place; the warm-up leaves them as
    they were. Results are overwritten by the next call. On a CPU there is nothing to record: each call runs the
    function on the same buffers, so that what holds of a replay can be tested there.
    """

    def __init__(self, function: Function, state: Iterable[Tensor], device: torch.device) -> None:
        self.function, self.state, self.device = function, list(state), device
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self._replay is None:
            self._record(inputs)
        if [each.shape for each in inputs] != [each.shape for each in self._inputs]:
            return self.function(*(each.to(self.device) for each in inputs))
        for buffer, given in zip(self._inputs, inputs, strict=True):
            buffer.copy_(given, non_blocking=True)
        assert self._replay is not None
        self._replay()
        return self._outputs

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self._inputs = [torch.empty_like(each, device=self.device).copy_(each) for each in inputs]
        before = [each.clone() for each in self.state]
        if self.device.type == "cuda":
            self._replay = self._graph().replay
        else:
            self._outputs = tuple(each.clone() for each in self.function(*self._inputs))
            self._replay = self._run
        with torch.no_grad():
            for each, old in zip(self.state, before, strict=True):
                each.copy_(old)

    def _graph(self) -> torch.cuda.CUDAGraph:
        aside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.function(*self._inputs)
        torch.cuda.current_stream(self.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # records, and runs nothing
            self._outputs = self.function(*self._inputs)
        return graph

    def _run(self) -> None:
        for buffer, result in zip(self._outputs, self.function(*self._inputs), strict=True):
            buffer.copy_(result)
