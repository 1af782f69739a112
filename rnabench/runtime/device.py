"""The device and the number format that a run uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from rnabench.errors import InvalidValue
from rnabench.settings.base import Precision


def find_device(name: str) -> torch.device:
    """`auto` (CUDA if there is one), `cpu`, `cuda` or `cuda:N`. Raises InvalidValue."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidValue("--device", name, "auto, cpu, cuda or cuda:N", ("auto", "cpu", "cuda")) from None
    if device.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= present:
            raise InvalidValue("--device", name, f"a device that is there ({present} CUDA devices found)", ())
    elif device.type != "cpu":
        raise InvalidValue("--device", name, "auto, cpu, cuda or cuda:N", ("auto", "cpu", "cuda"))
    return device


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each CUDA device that this process sees."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return [each.strip() for each in named.split(",")][:count] if named else [str(number) for number in range(count)]


def memory_ran_out(error: BaseException) -> bool:
    """Whether this is a device's, one of its libraries', or the CPU allocator's way to say that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in RAN_OUT))


RAN_OUT = "out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED", "ALLOCATION_FAILED"
BATCH_MATES = "where predictions depend on batch mates, half a batch would be another one"


def undivided(batch_size: int, why: str = BATCH_MATES) -> InvalidValue:
    """What to raise where memory ran out for a batch that has to stay whole."""
    return InvalidValue("--batch-size", batch_size, f"a smaller one: memory ran out, and {why}")


# tf32: products of float32 rounded to 10 bits of mantissa; bf16: activations in bfloat16 by autocast, the rest in fp32

IN_TORCH = {"fp32": "ieee", "tf32": "tf32", "bf16": "ieee"}


def check_precision(precision: str, device: torch.device) -> None:
    """Raises InvalidValue where the device does not have the format."""
    if precision == "tf32" and device.type != "cuda":
        raise InvalidValue("--precision", precision, f"fp32 or bf16 on a {device.type.upper()}; tf32 is a format of "
                                                     "CUDA devices", ())
    if precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise InvalidValue("--precision", precision, "fp32 or bf16; this CUDA device has no tf32", ())


@contextmanager
def number_formats(precision: Precision, device: torch.device) -> Iterator[None]:
    """Inside, matrix products and convolutions of float32 tensors are computed as `precision` says, in all threads.

    torch's own default computes convolutions on CUDA in TF32. Autocast is the network's part. Raises InvalidValue as
    `check_precision` does.
    """
    check_precision(precision, device)
    before, matmul, cudnn = [owner.fp32_precision for owner in _owners()], None, None
    # torch has an older and a newer way to say this and raises where they disagree, so both are set
    with suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        cudnn = torch.backends.cudnn.allow_tf32
    try:
        _set_older("high" if precision == "tf32" else "highest", precision == "tf32")
        for owner in _owners():
            owner.fp32_precision = IN_TORCH[precision]
        yield
    finally:
        _set_older(matmul, cudnn)
        for owner, value in zip(_owners(), before, strict=True):
            owner.fp32_precision = value


def formats_in_effect(precision: Precision, device: torch.device) -> dict[str, str | None]:
    """What a network of that precision is computed in at this moment, as records keep it."""
    backends: Any = torch.backends  # whose types lack the newer way
    products = (backends.cuda.matmul, backends.cudnn.conv) if device.type == "cuda" else (
        backends.mkldnn.matmul, backends.mkldnn.conv)
    matmul, convolution = ({"ieee": "fp32", "none": "fp32"}.get(owner.fp32_precision, owner.fp32_precision)
                           for owner in products)
    return {"matmul": matmul, "convolution": convolution, "autocast": "bf16" if precision == "bf16" else None}


def _owners() -> list[Any]:
    backends: Any = torch.backends
    return [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul, backends.mkldnn.conv]


def _set_older(matmul: str | None, cudnn: bool | None) -> None:
    if matmul is not None:
        torch.set_float32_matmul_precision(matmul)
    if cudnn is not None:
        torch.backends.cudnn.allow_tf32 = cudnn
