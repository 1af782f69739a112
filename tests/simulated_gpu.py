"""A CUDA device that is not there: its tensors lie on the CPU, and every rule of CUDA that code can break is kept.

    with simulated_gpu() as gpu:
        ...                     # torch.cuda is there; device="cuda" and .to("cuda") work
    gpu.waits                   # what made the host wait for the device: .item(), .cpu(), nonzero, ...

What is kept: tensors of the two devices do not meet in an operation; NumPy does not see the device's memory; nothing
that waits happens inside a recording. A recording (`torch.cuda.graph`) runs nothing: its results are NaN until it is
replayed. A replay does the same operations on the same memory, whatever Python would do by then, and recordings of one
pool overwrite each other: the first one's freed memory is where a later one's results lie. Here that is NaN as well.

What is not: speed, streams, compiled and handwritten kernels. All is computed by the CPU's kernels, in its formats, and
autocast is that of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from tests.simulated_tensors import Gpu, Recording, here


class OfHost(torch.Generator):
    """One of the device draws what one of the CPU does."""

    def __new__(cls, device: object = None) -> OfHost:  # type: ignore[misc]
        return super().__new__(cls)


class CastOnHost(torch.autocast):
    def __init__(self, device_type: str, *how: Any, **more: Any) -> None:
        super().__init__("cpu", *how, **more)


@contextmanager
def simulated_gpu() -> Iterator[Gpu]:
    """Inside the block there is one CUDA device, which this yields."""
    torch._C._ensureCUDADeviceGuardSet()

    @contextmanager
    def graph(recording: Recording, pool: object = None, **_: object) -> Iterator[None]:
        assert gpu.recording is None
        recording.pool = object() if pool is None else pool
        recording.begin([other for other in gpu.recordings if other.pool is recording.pool])
        gpu.recording = recording
        try:
            yield
        finally:
            gpu.recording = None
        gpu.recordings.append(recording)

    def nothing(*_: object, **__: object) -> Any:
        return nullcontext()

    stream = SimpleNamespace(wait_stream=nothing, synchronize=nothing)
    there: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0, "graph": graph,
        "CUDAGraph": Recording, "graph_pool_handle": object, "Stream": lambda *_: stream,
        "current_stream": lambda *_: stream, "get_device_name": lambda *_: "a simulated device",
        "get_device_capability": lambda *_: (9, 0), "mem_get_info": lambda *_: (2**36, 2**36),
        "memory_allocated": lambda *_: 0, "max_memory_allocated": lambda *_: 0,
        "get_rng_state": lambda *_: torch.get_rng_state(), "set_rng_state": nothing, "manual_seed_all": nothing,
        "synchronize": lambda *_: gpu.wait("synchronize"),
        "is_current_stream_capturing": lambda: gpu.recording is not None,
        **dict.fromkeys(("stream", "device", "empty_cache", "reset_peak_memory_stats", "set_device"), nothing),
    }

    def made_by(name: str) -> Any:
        make = getattr(torch, name)  # in C++ and past the dispatcher
        return mock.patch.object(torch, name, lambda data, *, device=None, **how: (
            make(data, **how) if device is None else make(data, **how).to(device)))

    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with (mock.patch.multiple(torch.cuda, **there), mock.patch.object(Tensor, "pin_memory", lambda self, *_: self),
          made_by("tensor"), made_by("as_tensor"), mock.patch.object(torch, "Generator", OfHost),
          mock.patch.object(torch, "autocast", CastOnHost)):
        gpu = Gpu()
        here.append(gpu)
        try:
            with gpu, gpu.asked:
                yield gpu
        finally:
            here.pop()
            torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
