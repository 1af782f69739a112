"""The adversarial images of an evaluation: joined beside its record, and found again."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rnabench.evaluation.cells import cells
from rnabench.evaluation.engine import cell_name
from rnabench.evaluation.kept_images import WHAT, keeps_images, pieces
from rnabench.report.record import KeptImages, Record, Result
from rnabench.runtime.files import sha256
from rnabench.runtime.journal import Journal
from rnabench.runtime.tensor_files import join
from rnabench.settings.evaluation import EvaluationSettings

FORMAT = "rnabench adversarial images 1"


def folder_of(record: Path) -> Path:
    """Where the images of a record lie."""
    return record.with_suffix(".images")


def description(record: Record, result: Result) -> dict[str, str]:
    """What a file of images says of itself: whose it is, of which data, under which threat model."""
    eps = result.parameters.get("eps") if result.bounded else None
    return {"format": FORMAT, "record": record.digest, "attack": result.attack, "protocol": result.protocol,
            "weights_sha256": record.model.weights_sha256, "dataset": record.data.name,
            "fingerprint": record.data.fingerprint, "norm": record.threat.norm,
            "eps": "none" if eps is None else repr(float(eps))}


def with_images(record: Record, keys: EvaluationSettings, journal: Journal, file: Path) -> Record:
    """The record that will be `file`, with the images that its journal holds, if they are kept: a file for each cell.

    Raises RnabenchError where they cannot be read or written.
    """
    results, images = [], len(record.data.indices)
    for cell, result in zip(cells(keys, record.model.randomised, record.surrogate), record.results, strict=True):
        name = cell_name(cell, keys, images)
        parts = list(pieces(journal, name, -(-result.images // keys.batch_size))) if keeps_images(cell, keys) else []
        if parts:
            target = folder_of(file) / (re.sub(r"[^\w.+-]", "-", "-".join(name)) + ".safetensors")
            join(parts, target, description(record, result), WHAT)
            kept = KeptImages(file=f"{target.parent.name}/{target.name}", sha256=sha256(target))
            result = result.model_copy(update={"kept_images": kept})
        results.append(result)
    return record.model_copy(update={"results": results})


def from_elsewhere(record: Record, file: Path, folder: Path) -> Record:
    """A record that was read from `file`, for a file in another `folder`: its images stay where they are."""
    def moved(result: Result) -> Result:
        if result.kept_images is None:
            return result
        place = Path(os.path.relpath(file.parent / result.kept_images.file, folder)).as_posix()
        return result.model_copy(update={"kept_images": result.kept_images.model_copy(update={"file": place})})

    return record.model_copy(update={"results": [moved(result) for result in record.results]})
