"""What a number was made with: versions, git revision, device, time. Every run and record keeps it."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnabench.settings.base import Precision

LIBRARIES = ("torch", "torchvision", "numpy", "torchattacks", "pyautoattack")


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that numbers depend on."""
    installed = {"python": platform.python_version()}
    for name in ("rnabench", *LIBRARIES):
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def git_revision() -> str | None:
    """The commit of the source tree that this package runs from, with `+changes` if files differ; None outside git."""
    folder = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    revision, changes = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "--", ".")
    return f"{revision}+changes" if revision and changes else revision


@cache
def made_by(device: str) -> dict[str, str | None]:
    """What this process makes numbers with, in short: the git revision, torch's version and the device's name."""
    named = device_description(device)["name"] if device.startswith("cuda") else device
    return {"git": git_revision(), "torch": versions()["torch"], "device": named}


def now() -> str:
    """The time as records keep it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def device_description(name: str, precision: Precision = "fp32", capture: bool = False) -> dict[str, Any]:
    """The device in words, with the number of CPU threads (results on a CPU are bit-identical for equal threads), the
    number formats in effect for networks of that precision, and whether passes are captured, if they can be."""
    import torch

    from rnabench.runtime.device import formats_in_effect

    formats = {"formats": formats_in_effect(precision, torch.device(name))}
    if capture and name.startswith("cuda"):
        formats["formats"]["passes"] = "captured"
    if name.startswith("cuda"):
        return {"device": name, "name": torch.cuda.get_device_name(name), **formats}
    return {"device": name, "name": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
            **formats}
