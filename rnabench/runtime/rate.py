"""How much arithmetic something does a second, and what share that is of the rate of a matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from rnabench.runtime.device import number_formats
from rnabench.seeding import stream
from rnabench.settings.base import Precision

SIDE = {"cpu": 512, "cuda": 8192}  # of the matrices: some processors are very slow in bf16
NO_WORK = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "is_same_size",
           "_local_scalar_dense"}  # and views: memory that holds nothing yet, and questions


@dataclass(frozen=True)
class Work:
    """What one call does: floating-point operations of its matrix products and convolutions (a multiplication and an
    addition are two), and calls of torch's operations that compute: as many kernels, at least, are launched."""

    flops: int
    launches: int


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations that an image takes, and those that a large matrix product does here in a second: None
    on a CPU, where that is no ceiling (a convolution may be faster) and says more about who else is at work."""

    per_image: float
    matrix_rate: float | None

    @classmethod
    def on(cls, device: torch.device, precision: Precision, per_image: float, count: int = 1) -> Self:
        """On `count` such devices."""
        return cls(per_image, None if device.type == "cpu" else count * matrix_rate(device, precision))

    def share(self, images_per_second: float) -> str:
        """What of the device is used, in words."""
        rate = self.per_image * images_per_second
        scale, unit = (1e12, "TFLOP/s") if rate >= 1e12 else (1e9, "GFLOP/s")
        used = f", {rate / self.matrix_rate:.1%} of a matrix product's" if self.matrix_rate else ""
        return f"{rate / scale:,.3g} {unit}{used}"


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """torch's own FlopCounterMode stops at `autograd.grad`; its formulas do not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.launches = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.launches += not function.is_view and function._schema.name.partition("::")[2] not in NO_WORK
        if formula := flop_registry.get(function._overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def work_of(run: Callable[[], object]) -> Work:
    """Counted in one call, which is run as it comes: what is compiled or recorded cannot be looked into."""
    with _Counting() as counting:
        run()
    return Work(counting.flops, counting.launches)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, to the end of what it gave the device to do."""
    _wait(device)
    started = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - started


def matrix_rate(device: torch.device, precision: Precision, repeats: int = 4) -> float:
    """Floating-point operations per second of a large matrix product in that format: the fastest of a few."""
    side = SIDE.get(device.type, 1024)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    noise = stream(0, "matrix rate", device=device)
    left, right = (torch.rand(side, side, device=device, generator=noise).to(kind) for _ in range(2))
    with number_formats(precision, device):
        left @ right
        fastest = min(seconds(lambda: left @ right, device) for _ in range(repeats))
    return 2 * side**3 / fastest


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
