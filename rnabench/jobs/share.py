"""A run for others, and from others: its parcel with the card of what was measured on it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rnabench.exchange.parcel import AGAIN, CARD, INFO, publish, read_usable, take
from rnabench.exchange.repository import Repository
from rnabench.model.runs import RUN_FILE, WEIGHTS
from rnabench.model.saved import load_model, rounded_state, save_weights
from rnabench.report.card import card_of
from rnabench.report.record import Record
from rnabench.report.record_file import reading, records_in
from rnabench.report.table_files import without_html
from rnabench.runtime.files import sha256, write_text, writing
from rnabench.settings.parts import with_parts

HUB_FIELDS = """\
---
library_name: rnabench
pipeline_tag: image-classification
tags: [adversarial-robustness, randomised-defence]
---
"""


def push(run: Path, repository: Repository, bf16: bool = False) -> str:
    """Put a finished run into a repository, with the card of its newest record; returns what names this version of it.
    With `bf16` its weights are rounded to bfloat16, unless they are: half the size, and a network that no record is of.

    Raises CheckpointError for a run that cannot be used, RnabenchError for a damaged record, and the repository's
    errors.
    """
    said = read_usable(run)  # before all that takes time
    if not bf16 or said.get("rounded"):
        return publish(run, _texts(run, said, repository.address), repository)
    with TemporaryDirectory(prefix="rnabench-") as place:
        said = _rounded(run, said, Path(place))
        return publish(Path(place), _texts(Path(place), said, repository.address), repository)


def _rounded(run: Path, said: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the run with rounded weights, and without what was measured on others, into a folder; returns its
    run.json."""
    with writing(folder):
        save_weights(rounded_state(load_model(run)), folder)
        said = {name: value for name, value in said.items() if name != "selected"}
        said |= {"rounded": {"to": "bfloat16", "from_sha256": sha256(run / WEIGHTS)},
                 "weights_sha256": sha256(folder / WEIGHTS)}
        write_text(folder / RUN_FILE, json.dumps(said, indent=1) + "\n")
    return said


def pull(repository: Repository, runs: Path) -> tuple[Path, bool]:
    """Put the run of a repository into a folder of runs; returns where, and whether it is new there. Raises as
    `rnabench.exchange.parcel.take`."""
    target = runs / repository.stem
    return target, take(repository, target)


def _texts(run: Path, said: dict[str, Any], address: str) -> dict[str, str]:
    """The card as the hub shows it, and its other files."""
    weights = sha256(run / WEIGHTS) if (run / WEIGHTS).is_file() else ""  # without any, publishing says so
    # those of weights that were trained anew since say nothing of these
    records = [(file, record) for file, record in records_in(run) if record.model.weights_sha256 == weights]
    use = (f"## Use\n\n```sh\nrnabench pull {shlex.quote(address)}\n```\n\nThe weights are safetensors of SHA-256 "
           f"`{said.get('weights_sha256', 'unknown')}`; `pull` compares the hash of every file before it keeps any.\n")
    if of := said.get("rounded"):
        use += f"\nThey are rounded to {of['to']}, from those of SHA-256 `{of['from_sha256']}`.\n"
    if not records:
        return {CARD: HUB_FIELDS + without_html(f"\n# {_title(said)}\n\nNot attacked yet.\n\n{use}")}
    file, newest = max(records, key=lambda each: _made(each[1]))
    with reading(file):
        texts = card_of(newest, Path(AGAIN).with_suffix("")).texts
    named = {CARD: HUB_FIELDS + without_html(f"\n{texts['.md']}\n{use}"), INFO: texts[".json"]}
    return named | ({AGAIN: texts[".yaml"]} if ".yaml" in texts else {})


def _made(record: Record) -> str:
    return record.made or ""


def _title(said: dict[str, Any]) -> str:
    model = said["model"]
    return with_parts(f"{model['arch']} width {model['width']}, space {model['space']}", model) + (
        f", trained on {said['data']['name']}")
