"""Kill half of the workers at random moments: is anything lost, or done twice, and are the tables the same bytes?

    pip install 'rnabench[cluster]'
    python docs/cluster_trial.py --workers 16 --kills 8

One recipe is done by one process, and then by so many local workers of submitit, all with one thread of the CPU: the
number of threads is part of what a network trained on a CPU rounds to. Needs Linux (/proc). With RNABENCH_LOCKS=leases
it tries leases.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rnabench.cli.main import main
from rnabench.jobs.cluster import LOGS

RECIPE = """\
name: trial
title: Workers are killed
train: {width: 4, steps: 2, epochs: 4, n_train: 512, n_holdout: 32, batch_size: 64}
models: {bn: {space: bn}, in: {space: in}, bn+in: {space: bn+in}, bn+gn2: {space: bn+gn2}}
baseline: bn
evaluate: {attacks: [fgsm, pgd10, pgd20-margin], protocols: [paper, "eot:4"], n_examples: 64, batch_size: 16, draws: 4,
           sanity: false}
figures: {matrix: {study: transfer-matrix, models: [bn, bn+in], attack: pgd5, n_examples: 32, batch_size: 16, draws: 2}}
"""
TABLES = ("*.csv", "*.md")
PAUSES = (0.5, 4.0)  # seconds between two kills


@dataclass
class Watcher:
    """Looks at the folders while workers work in them, and sends each of these signals to one that has begun."""

    folder: Path
    signals: Sequence[int]
    pauses: tuple[float, float] = PAUSES
    random: random.Random = field(default_factory=lambda: random.Random(0))
    lines: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))  # of journals, as seen
    hit: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        at = 0.0
        while not self.over.wait(0.02):
            self._read_journals()
            if len(self.hit) < len(self.signals) and time.monotonic() > at and (working := self._working()):
                victim = self.random.choice(working)
                with suppress(ProcessLookupError):
                    os.kill(victim, self.signals[len(self.hit)])
                    self.hit.append(victim)
                at = time.monotonic() + self.random.uniform(*self.pauses)

    def twice(self) -> list[tuple[str, int]]:
        """Batches that were written down more than once: each has its seconds, which are never the same again."""
        return [where for where, contents in self.lines.items() if len(contents) > 1]

    def _read_journals(self) -> None:
        for file in self.folder.glob("results/*/*.progress/*.jsonl"):
            with suppress(OSError):
                whole = file.read_text().split("\n")[1:-1]  # a head first; behind the last newline, what is not whole
                for number, line in enumerate(whole):
                    self.lines[f"{file.parent.name}/{file.name}", number].add(line)

    def _working(self) -> list[int]:
        """Processes that have said something of their own, and were not hit: logs are named by who started them."""
        parents = {int(log.name.split("_")[0]) for log in self.folder.glob(f"runs/{LOGS}/*/*_log.out")
                   if any(not line.startswith("submitit") for line in log.read_text().splitlines())}
        return [process for process, parent in processes().items() if parent in parents and process not in self.hit]


def reproduce(file: Path, folder: Path, *options: str) -> None:
    """The command, in this process. Raises RuntimeError if it fails."""
    try:
        main(["reproduce", str(file), "--runs", str(folder / "runs"), "--out", str(folder / "results"), "--device",
              "cpu", *options])
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"exit code {end.code}") from end


def with_workers(file: Path, folder: Path, workers: int, signals: Sequence[int],
                 pauses: tuple[float, float] = PAUSES) -> Watcher:
    """Have a recipe done by workers of whom some are hit by signals."""
    watcher = Watcher(folder, signals, pauses)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        reproduce(file, folder, "--cluster", "local", "--workers", str(workers))
    finally:
        watcher.over.set()
        thread.join()
    return watcher


def differing(one: Path, other: Path) -> list[str]:
    """Tables that are not the same bytes, and records that are not the same but for when, where and how fast."""
    def files(folder: Path) -> dict[str, Any]:
        found = sorted(each for kind in (*TABLES, "*.json") for each in (folder / "results").glob(f"*/{kind}"))
        return {each.name: _without(json.loads(each.read_text())) if each.suffix == ".json" else each.read_bytes()
                for each in found}

    left, right = files(one), files(other)
    return sorted(name for name in {*left, *right} if name not in left or left[name] != right.get(name))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(part) for key, part in value.items()
                if not key.startswith("seconds") and key not in ("images_per_second", "made")}
    return [_without(part) for part in value] if isinstance(value, list) else value


def processes() -> dict[int, int]:
    """All of this machine, and the parent of each."""
    found = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(each.parent.name)] = int(each.read_text().rpartition(")")[2].split()[1])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--kills", type=int, default=8)
    told = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        recipe, alone, together = Path(place, "trial.yaml"), Path(place, "alone"), Path(place, "together")
        recipe.write_text(RECIPE)
        started = time.monotonic()
        reproduce(recipe, alone)
        middle = time.monotonic()
        seen = with_workers(recipe, together, told.workers, [signal.SIGKILL] * told.kills)
        print(f"\none process: {middle - started:.0f} s; {told.workers} workers, {len(seen.hit)} of them killed: "
              f"{time.monotonic() - middle:.0f} s")
        print(f"batches seen in journals: {len(seen.lines)}, of which twice: {len(seen.twice())}")
        print(f"tables and records that differ: {', '.join(differing(alone, together)) or 'none'}")
        sys.exit(bool(seen.twice() or differing(alone, together)))
