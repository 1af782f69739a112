"""The device and the number format that a run uses."""

from __future__ import annotations

import torch

from rnabench.errors import InvalidValue


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
