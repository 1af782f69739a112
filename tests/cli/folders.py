"""Run folders without a training, for tests of what finds them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def run_folder(folder: Path, age: float, status: str = "finished", space: str = "bn+in", data: str = "digits",
               epochs: int = 2, done: int = 2, weights: bool = True) -> Path:
    """A folder as `rnabench train` writes it, but for its weights, last written `age` seconds after 1970."""
    folder.mkdir(parents=True)
    run: dict[str, Any] = {
        "status": status, "model": {"arch": "resnet18", "width": 2, "space": space,
                                    "paths": str(2 ** 20 if "+" in space else 1)},
        "recipe": {"dataset": data, "epochs": epochs, "steps": 3}, "data": {"name": data},
    }
    rows = ["epoch,holdout_natural,holdout_pgd", *(f"{row + 1},0.{row + 1},0.0{row + 1}" for row in range(done))]
    if status == "finished":
        run["selected"] = {"by": "best", "epoch": done, "holdout_natural": 0.987, "holdout_pgd": 0.654}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    if weights:
        (folder / "model.safetensors").write_bytes(b"\0" * 3_000_000)
    for file in folder.iterdir():
        os.utime(file, (age, age))
    return folder
