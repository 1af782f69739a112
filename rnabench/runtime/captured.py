"""Functions of tensors, recorded once as CUDA graphs and replayed: one launch where there were thousands.

On a CPU there is nothing to record. There the same classes run the function on the same buffers in every call, so that
tests without a GPU see what comes of buffers that are used again; not what a recording may freeze or forbid.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnabench.runtime.agreement import check_agreement, refusing

Tensors = tuple[Tensor, ...]
WARM_UP = 3  # runs before recording, in which libraries choose kernels and allocate their workspaces
ROUNDING = 0.3  # of sums in no fixed order, of which an attack makes more


class Captured:
    """`function`, replayed for inputs of the shapes of its first call, which all calls must have.

    It must do the same work whatever its inputs hold, look at no value on the host, and draw no random numbers: what
    changes from call to call is an input. `state` are the tensors that it changes in place; the warm-up leaves them as
    they were. Results are overwritten by the next call.

    The first call raises NumericalError where torch cannot record the function, or what is replayed is not what it did
    just before.
    """

    def __init__(self, function: Callable[..., Tensors], state: Iterable[Tensor], device: torch.device) -> None:
        self.function, self.state, self.device = function, list(state), device
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> Tensors:
        if self._replay is None:
            self._record(inputs)
        fill(self._inputs, inputs)
        assert self._replay is not None
        self._replay()
        return self._outputs

    def _record(self, inputs: Sequence[Tensor]) -> None:
        self._inputs = buffers(inputs, self.device)
        before = [each.clone() for each in self.state]
        if self.device.type == "cuda":
            with recording(self.device) as stream:
                for _ in range(WARM_UP):
                    start = [each.clone() for each in self.state]
                    results = self.function(*self._inputs)
                expected = [each.clone() for each in (*results, *self.state)]
                graph = torch.cuda.CUDAGraph()
                with onto(graph, stream):
                    self._outputs = self.function(*self._inputs)
            self._replay = graph.replay
            with torch.no_grad():
                fill(self.state, start)
                graph.replay()
                ours = [*self._outputs, *self.state]
                check_agreement("--capture", _moved(expected, start), _moved(ours, start), ROUNDING)
        else:
            self._outputs = tuple(each.clone() for each in self.function(*self._inputs))
            self._replay = self._run
        with torch.no_grad():
            fill(self.state, before)

    def _run(self) -> None:
        fill(self._outputs, self.function(*self._inputs))


def _moved(found: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
    """Results, then how far the state that follows them went from where it was."""
    results = len(found) - len(start)
    return [*found[:results], *(after.double() - before for after, before in zip(found[results:], start, strict=True))]


@dataclass
class Shared:
    """What passes have in common that are replayed one at a time: their memory, and how many have been run."""

    pool: Any = None
    turn: int = 0


class CapturedPass:
    """Images [N, ...] and other tensors to logits, in one graph, and slopes of the logits to those of the images in
    another. Differentiable once, by `replayed`; nothing but the images gets a gradient.

    Graphs that share their memory overwrite each other's activations: a backward pass that does not follow its own
    forward pass at once runs that again.

    Raises NumericalError where torch cannot record `run`, or what is replayed is not what it did just before.
    """

    def __init__(self, run: Callable[..., Tensor], inputs: Sequence[Tensor], device: torch.device, shared: Shared
                 ) -> None:
        self.run, self.shared, self.device = run, shared, device
        self._inputs = buffers(inputs, device)
        self._inputs[0].requires_grad_()
        if device.type != "cuda":
            self._live = self.run(*self._inputs)
            self.logits, self._slope = (torch.zeros_like(self._live, requires_grad=False) for _ in range(2))
            self.gradient = torch.zeros_like(self._inputs[0], requires_grad=False)
            return
        shared.pool = shared.pool or torch.cuda.graph_pool_handle()
        with recording(device) as stream, torch.enable_grad():
            for _ in range(WARM_UP):
                logits = self.run(*self._inputs)
                (gradient,) = torch.autograd.grad(logits, self._inputs[0], torch.ones_like(logits))
            self._slope = torch.zeros_like(logits, requires_grad=False)
            self._graphs = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
            with onto(self._graphs[0], stream, shared.pool):
                live = self.run(*self._inputs)
            with onto(self._graphs[1], stream, shared.pool):
                (self.gradient,) = torch.autograd.grad(live, self._inputs[0], self._slope)
            self.logits = live.detach()
        self._graphs[0].replay()
        self.backward(torch.ones_like(self.logits))
        check_agreement("--capture", [logits, gradient], [self.logits, self.gradient], ROUNDING)

    def forward(self, inputs: Sequence[Tensor]) -> int:
        """Fill `logits`; returns the number of this turn."""
        with torch.no_grad():
            fill(self._inputs, inputs)
        if self.device.type == "cuda":
            self._graphs[0].replay()
        else:
            with torch.enable_grad():
                self._live = self.run(*self._inputs)
            self.logits.copy_(self._live.detach())
        self.shared.turn += 1
        return self.shared.turn

    def backward(self, slope: Tensor) -> None:
        """Fill `gradient`, of the last forward pass; spends what that had kept."""
        self._slope.copy_(slope)
        if self.device.type == "cuda":
            self._graphs[1].replay()
        else:
            self.gradient.copy_(torch.autograd.grad(self._live, self._inputs[0], self._slope)[0])
        self.shared.turn += 1


def replayed(captured: CapturedPass, *inputs: Tensor) -> Tensor:
    """The pass on these inputs, for autograd too. The result is the caller's own."""
    result: Tensor = _Replayed.apply(captured, *inputs)  # type: ignore[no-untyped-call]
    return result


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, captured: CapturedPass, *inputs: Tensor) -> Tensor:
        ctx.captured = captured
        ctx.save_for_backward(*inputs)
        ctx.turn = captured.forward(inputs)
        return captured.logits.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        captured: CapturedPass = ctx.captured
        if captured.shared.turn != ctx.turn:  # spent by another backward pass, or overwritten
            captured.forward(ctx.saved_tensors)
        captured.backward(slopes[0])
        return None, captured.gradient.clone(), *[None] * (len(ctx.saved_tensors) - 1)


def buffers(inputs: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copies of the inputs on the device, in their memory formats."""
    return [torch.empty_like(each, device=device, requires_grad=False).copy_(each.detach()) for each in inputs]


def fill(kept: Iterable[Tensor], given: Iterable[Tensor]) -> None:
    for buffer, each in zip(kept, given, strict=True):
        buffer.copy_(each, non_blocking=True)


@contextmanager
def recording(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """A stream to warm up and to record on. Inside nothing is collected: to destroy an old graph ends a recording."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch.cuda.device(device):
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                yield stream
            torch.cuda.current_stream(device).wait_stream(stream)
    finally:
        if collecting:
            gc.enable()


@contextmanager
def onto(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, pool: Any = None) -> Iterator[None]:
    """Record what the block does, of which nothing runs. Raises NumericalError where that cannot be recorded."""
    with (refusing("--capture", "record this here"),
          torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local")):
        yield
