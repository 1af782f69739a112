"""Ends rnabench at random moments, by SIGKILL, SIGTERM, SIGINT and SIGHUP, until the same command has come to its end
all the same, and compares what it leaves with what it leaves undisturbed. A tiny recipe on digits, half an hour:

    python docs/kills.py --kills 100

With `--slices` it lets `reproduce` run for a third of a minute at a time instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 20  # seconds that a command may take to end after a signal, on a busy machine
CLOCK = re.compile("seconds|_per_|^made$|matrix_rate|max_minutes")  # what a clock says, or was asked
RECIPE = """
name: tiny
title: Tiny
train: {dataset: digits16, arch: resnet18, width: 4, eps: 16/255, step_size: 8/255, steps: 2, epochs: 2,
        batch_size: 32, n_train: 256, n_holdout: 64, schedule: one-cycle}
models:
  bn: {space: bn}
  bn+in: {space: bn+in}
baseline: bn
table: [bn, bn+in]
evaluate: {suites: {mine: {attacks: [fgsm, pgd10, apgd10-ce], protocols: [paper, "eot:4"]}}, suite: mine, eps: 16/255,
           n_examples: 64, batch_size: 32, draws: 4, sanity: false}
figures:
  paths: {title: Paths, study: path-difference, models: [bn+in], eps: 16/255, n_examples: 64}
"""
TRAIN = ("train --dataset digits16 --arch resnet18 --width 4 --space bn+in --eps 16/255 --step-size 8/255 --steps 2 "
         "--epochs 2 --batch-size 32 --n-train 256 --n-holdout 64 --schedule one-cycle --out made/run")
ATTACK = ("attack {run} --attacks pgd10,cw5,square20 --protocols paper,eot:4 --eps 16/255 --n-examples 64 --draws 4 "
          "--batch-size 32 --no-sanity --runs given/runs --out made/attack")
TRANSFER = "transfer-matrix {run} --eps 16/255 --n-examples 64 --out made/transfer"
COMMANDS = {
    "reproduce": "reproduce given/tiny.yaml --runs made/runs --out made/results",
    "reproduce --jobs 2": "reproduce given/tiny.yaml --runs made/runs --out made/results --jobs 2",
    "train": TRAIN,
    "attack": ATTACK,
    "transfer-matrix": TRANSFER,
    "check": "check given/results/tiny --against given/results/tiny --out made/check.md",
    "report": "report given/results --out made/report.html",
}


@dataclass(frozen=True)
class Undisturbed:
    """How long a command takes, and what it leaves: a file's content by its name."""

    seconds: float
    left: dict[str, bytes]


def started(command: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "rnabench", *command.split()], cwd=folder,
                            stdout=(folder / "log").open("ab"), stderr=subprocess.STDOUT)


def finished(command: str, folder: Path, ends: tuple[int, ...] = (0,)) -> int:
    code = started(command, folder).wait()
    if code not in ends:
        sys.exit(f"rnabench {command}: exit code {code}\n" + (folder / "log").read_text()[-2000:])
    return code


def content(folder: Path) -> dict[str, bytes]:
    """All files under a folder; of records, and of what tells how fast a training was, all but what a clock said."""
    return {str(path.relative_to(folder)): timeless(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".lock" and "log" not in path.name}


def timeless(path: Path) -> bytes:
    if path.suffix != ".json":
        return path.read_bytes()
    return json.dumps(without_clock(json.loads(path.read_text())), sort_keys=True).encode()


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clock(item) for key, item in value.items() if not CLOCK.search(key)}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def fresh(work: Path, name: str) -> Path:
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "made").mkdir(parents=True)
    (folder / "given").symlink_to(work / "given")
    return folder


def undisturbed(work: Path, command: str) -> Undisturbed:
    folder, begun = fresh(work, "undisturbed"), time.monotonic()
    finished(command, folder)
    return Undisturbed(time.monotonic() - begun, content(folder / "made"))


def ended(command: str, folder: Path, after: float, by: signal.Signals) -> str:
    """What became of one run: `by` the signal, `done` before it, or `hangs`."""
    process = started(command, folder)
    try:
        process.wait(after)
        return "done before"
    except subprocess.TimeoutExpired:
        process.send_signal(by)
    try:
        process.wait(PATIENCE)
        return by.name
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"{by.name}: hangs"


def differences(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    return ([f"missing {name}" for name in expected if name not in found]
            + [f"left behind {name}" for name in found if name not in expected]
            + [f"differs {name}" for name in expected if name in found and expected[name] != found[name]])


def rounds(work: Path, wanted: int, rng: random.Random, commands: dict[str, str]) -> Iterator[str]:
    """A line after each round: a command that is ended up to four times, and then let go on to its end."""
    before = {name: undisturbed(work, command) for name, command in commands.items()}
    yield "undisturbed: " + ", ".join(f"{name} {it.seconds:.0f} s" for name, it in before.items())
    kills, bad = Counter[str](), 0
    for name in itertools.cycle(commands):
        folder, seconds, counted = fresh(work, "round"), before[name].seconds, Counter[str]()
        for _ in range(rng.randint(2, 4)):
            counted[ended(commands[name], folder, rng.uniform(0.1, 1) * seconds, rng.choice(SIGNALS))] += 1
            if counted["done before"]:
                break
        finished(commands[name], folder)
        wrong = differences(before[name].left, content(folder / "made"))
        bad += bool(wrong)
        kills.update(counted)
        total = sum(count for what, count in kills.items() if what != "done before")
        yield f"{total:3} {name}: {dict(counted)} {wrong or 'equal'}"
        if total >= wanted:
            yield f"{dict(kills)}; rounds that ended otherwise: {bad}"
            return


def slices(work: Path) -> Iterator[str]:
    command = COMMANDS["reproduce"]
    whole, folder = undisturbed(work, command), fresh(work, "slices")
    for count in itertools.count(1):
        if finished(f"{command} --max-minutes 0.333", folder, ends=(0, 3)) == 0:
            wrong = differences(whole.left, content(folder / "made"))
            yield f"in one piece {whole.seconds:.0f} s; in {count} slices of 20 seconds: {wrong or 'equal'}"
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slices", action="store_true")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        given = work / "given"
        given.mkdir()
        (given / "tiny.yaml").write_text(RECIPE)
        finished("reproduce tiny.yaml --runs runs --out results", given)
        run = next(folder for folder in sorted((given / "runs").iterdir()) if "bn+in" in folder.name)
        commands = {name: command.format(run=f"given/runs/{run.name}") for name, command in COMMANDS.items()}
        lines = slices(work) if chosen.slices else rounds(work, chosen.kills, random.Random(chosen.seed), commands)
        for line in lines:
            print(line, flush=True)


if __name__ == "__main__":
    main()
