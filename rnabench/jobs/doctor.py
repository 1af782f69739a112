"""What this machine has of what rnabench needs, and what to do about what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from rnabench.data.sources import load_images
from rnabench.errors import RnabenchError
from rnabench.runtime.device import visible_gpus
from rnabench.runtime.environment import git_revision, versions
from rnabench.runtime.locks import check_locks, lease_seconds
from rnabench.runtime.progress import Silent
from rnabench.settings.datasets import DATASETS, DataSettings

State = Literal["OK", "WARN", "FAIL"]
GIGABYTE = 1024**3
LEAST_FREE = 2.0  # GB: a few runs of full width with their training states
LEAST_TORCH = (2, 11)
COMPILE_SECONDS = 180
COMPILES = """
import torch
double = torch.compile(lambda x: 2 * x.relu())
assert torch.equal(double(torch.ones(4)), torch.full((4,), 2.0))
"""


@dataclass(frozen=True)
class Finding:
    """What was looked at and what was found; `advice` says what to do about it, if anything."""

    what: str
    state: State
    found: str
    advice: str = ""


def examine(runs: Path, results: Path, data: Path, compiles: bool = True) -> Iterator[Finding]:
    """Look at everything in turn; `compiles` tries torch.compile, which takes up to some minutes."""
    yield _versions()
    yield _processor()
    yield from _gpus()
    if compiles:
        yield _compile()
    for name, folder in (("--runs", runs), ("--out", results)):
        yield _locks(name, folder)
        yield _space(name, folder)
    for dataset in ("digits", "cifar10", "cifar100"):
        yield _data(dataset, data)


def _versions() -> Finding:
    found = versions()
    if revision := git_revision():
        found["rnabench"] += f" ({revision})"
    said = ", ".join(f"{name} {version}" for name, version in found.items())
    if tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])) < LEAST_TORCH:
        return Finding("versions", "FAIL", said, f"install torch {'.'.join(map(str, LEAST_TORCH))} or newer")
    missing = [name for name, version in found.items() if version == "not installed"]
    return Finding("versions", "FAIL" if missing else "OK", said, f"pip install {' '.join(missing)}" if missing else "")


def _processor() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    said = f"{usable} of {os.cpu_count()} cores, {threads} threads"
    if threads > usable:
        return Finding("processor", "WARN", said, f"set OMP_NUM_THREADS={usable}: threads wait for each other")
    return Finding("processor", "OK", f"{said}; formats fp32, bf16 (slow where the processor has none)")


def _gpus() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        advice = ("none is needed at profiles cpu and smoke; else look at nvidia-smi and the driver's version" if built
                  else "this torch is built without CUDA; pip install torch from pytorch.org for one that has it")
        yield Finding("GPU", "WARN", f"none (torch is built for {f'CUDA {built}' if built else 'the CPU'})", advice)
        return
    for number, name in enumerate(visible_gpus()):
        seen = torch.cuda.get_device_properties(number)
        formats = ["fp32", *(["tf32", "bf16"] if (seen.major, seen.minor) >= (8, 0) else [])]
        free, total = torch.cuda.mem_get_info(number)
        advice = "another process holds most of its memory" if free < total / 2 else ""
        yield Finding(f"GPU {name}", "WARN" if advice else "OK",
                      f"{seen.name}, {free / GIGABYTE:.0f} of {total / GIGABYTE:.0f} GB free, formats "
                      f"{', '.join(formats)}", advice)


def _compile() -> Finding:
    """In a process of its own: a compiler that hangs or dies takes nothing with it."""
    try:
        done = subprocess.run([sys.executable, "-c", COMPILES], capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        return Finding("--compile", "WARN", f"not done after {COMPILE_SECONDS} s", "do without --compile")
    if done.returncode == 0:
        return Finding("--compile", "OK", "torch.compile works")
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Finding("--compile", "WARN", f"torch.compile fails ({reason[:120]})",
                   "install a C++ compiler (g++), or do without --compile")


def _locks(name: str, folder: Path) -> Finding:
    made = not folder.exists()
    try:
        check_locks(folder, Silent(), alone=False)
        seconds = lease_seconds(folder)
    except RnabenchError as error:
        return Finding(f"{name} locks", "WARN", str(error), "let one process at a time work there")
    finally:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
    if seconds is not None:
        return Finding(f"{name} locks", "OK", f"leases of {seconds:g} s keep other processes out of {str(folder)!r}: "
                                              "file locks do not hold there, or are not to be used")
    return Finding(f"{name} locks", "OK", f"keep other processes out of {str(folder)!r}")


def _space(name: str, folder: Path) -> Finding:
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free / GIGABYTE
    return Finding(f"{name} disk", "OK" if free >= LEAST_FREE else "WARN", f"{free:.1f} GB free at {str(folder)!r}",
                   "" if free >= LEAST_FREE else f"free some: below {LEAST_FREE:g} GB long runs may end half-way")


def _data(name: str, folder: Path) -> Finding:
    keys = DataSettings(dataset=name, data_dir=folder if DATASETS[name].needs_folder else None)
    try:
        images = load_images(keys, "test")
    except RnabenchError:
        return Finding(f"data {name}", "WARN", f"not in {str(folder)!r}",
                       f"add --download --data-dir {folder} to a command with --dataset {name}")
    return Finding(f"data {name}", "OK", f"{len(images):,} test images")
