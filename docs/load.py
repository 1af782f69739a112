"""How much memory a large evaluation takes, and how large its record is: twenty attacks and twenty draws on a thousand
and on ten thousand images, of noise, by a network of width 2. It prints a line for each:

    python docs/load.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = (1_000, 10_000)
CLASSES = 10
TRAIN = ("train --dataset folder --data-dir data --dataset-name noise --arch resnet20 --width 2 --space bn+in "
         "--epochs 1 --steps 1 --n-train 256 --n-holdout 0 --select last --batch-size 64 --out run")
ATTACK = ("attack run --protocols paper --draws 20 --eps 8/255 --no-sanity --batch-size 500 --attacks "
          + ",".join(f"fgsm@{eps}/255" for eps in range(1, 21)))


def noise(folder: Path, part: str, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        file = folder / part / str(number % CLASSES) / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)


def measured(command: str, folder: Path) -> tuple[float, float]:
    """Seconds, and MiB at most, of a process of its own."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "rnabench", *command.split()], cwd=folder,
                               stdout=(folder / "log").open("ab"), stderr=subprocess.STDOUT)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"rnabench {command}: {(folder / 'log').read_text()[-2000:]}")
    return time.monotonic() - begun, used.ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        noise(folder / "data", "train", 256)
        noise(folder / "data", "test", COUNTS[-1])
        measured(TRAIN, folder)
        for count in COUNTS:
            out = f"attacked-{count}"
            seconds, memory = measured(f"{ATTACK} --n-examples {count} --out {out}", folder)
            size = (folder / out / "record.json").stat().st_size
            print(f"{count:,} images: {seconds:,.0f} s, {memory:,.0f} MiB at most, a record of {size:,} bytes",
                  flush=True)


if __name__ == "__main__":
    main()
