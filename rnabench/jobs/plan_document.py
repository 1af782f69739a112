"""A plan for programs: every cell of a recipe with what it needs, so that any engine can have them done, in any order
that respects that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rnabench.jobs.plan import Part, Piece
from rnabench.jobs.recipe_cells import ATTACK, SANITY, STUDY, TABLE, TRAIN, study_id, train_id
from rnabench.jobs.reproduce import Place
from rnabench.settings.recipe import Recipe

DONE, TODO, STALE = "done", "to do", "stale"


def plan_document(whole: Recipe, chosen: Recipe, place: Place, pieces: Sequence[Piece]) -> dict[str, Any]:
    """What `forecast` says of what is chosen of a recipe: where things lie, data sets that are missing, and `cells` in
    an order in which they can be done. `inputs` are ids of cells, all of which are listed; `runs` the folders of
    networks that are read; `seconds` are left on an idle machine, of a stale one those of making it anew."""
    cells = list(_Cells(whole, chosen, place).of(pieces))
    return {"recipe": whole.name, "profile": whole.profile, "runs": place.runs, "folder": place.folder,
            "missing_data": [{"dataset": piece.name, "note": piece.note} for piece in pieces if piece.kind == "data"],
            "seconds": sum(cell["seconds"] for cell in cells if cell["state"] == TODO), "cells": cells}


class _Cells:
    def __init__(self, whole: Recipe, chosen: Recipe, place: Place) -> None:
        self.whole, self.chosen, self.place = whole, chosen, place
        self.first: dict[Path, str] = {}  # two names may mean one network: it is trained under the first
        for name, training in chosen.models.items():
            self.first.setdefault(place.run(training), name)

    def of(self, pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
        attacks: list[dict[str, Any]] = []
        for piece in pieces:
            if piece.kind == "train":
                training = self.chosen.models[piece.name]
                teachers = [self.place.run(training.teacher)] if training.teacher else []
                yield self._cell(train_id(piece.name), TRAIN, piece, piece.done, piece.seconds, teachers,
                                 self.place.run(training), training=piece.name)
            elif piece.kind == "attack":
                found = [self._attack(piece, part) for part in piece.parts]
                if self.chosen.evaluate.cumulative:  # each attacks what the one before leaves
                    for before, cell in pairwise(found):
                        cell["inputs"].append(before["id"])
                attacks += found
                yield from found
            elif piece.kind == "study":
                models = self.chosen.figures[piece.name].models
                yield self._cell(study_id(piece.name), STUDY, piece, float(piece.state == DONE), piece.seconds,
                                 self._runs(*models), self.place.record(piece.name), figure=piece.name)
        if attacks and self.chosen.table == self.whole.table and (
                self.chosen.attacks, self.chosen.cells) == (None, None):
            yield self._table(attacks)

    def _attack(self, piece: Piece, part: Part) -> dict[str, Any]:
        kind, _, attack = part.id.partition("/")
        attack, _, protocol = attack.removeprefix(f"{piece.name}/").rpartition("/")
        return self._cell(part.id, SANITY if kind == SANITY else ATTACK, piece, part.done, part.seconds,
                          self._runs(piece.name), self.place.record(piece.name), training=piece.name, attack=attack,
                          protocol=protocol)

    def _table(self, attacks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        file = self.place.folder / "table.csv"
        records = [self.place.record(name) for name in self.chosen.table]
        is_newest = all(each.exists() for each in (file, *records)) and all(
            record.stat().st_mtime_ns <= file.stat().st_mtime_ns for record in records)
        done = is_newest and all(cell["state"] != TODO for cell in attacks)
        piece = Piece(TABLE, TABLE, DONE if done else TODO, 0.0, 0.0)
        inputs = [each["id"] for each in attacks]
        return self._cell(TABLE, TABLE, piece, float(done), 0.0, [], file) | {"inputs": inputs}

    def _runs(self, *models: str) -> list[Path]:
        return [self.place.run(self.chosen.models[name]) for name in models if name in self.chosen.models]

    def _cell(self, id: str, kind: str, piece: Piece, done: float, seconds: float, runs: Sequence[Path], output: Path,
              training: str | None = None, attack: str | None = None, protocol: str | None = None,
              figure: str | None = None) -> dict[str, Any]:
        settings = self.chosen.models.get(training or "")
        return {
            "id": id, "kind": kind, "model": training and self.whole.model_of(training), "training": training,
            "seed": settings and settings.seed, "attack": attack, "protocol": protocol, "figure": figure,
            "state": STALE if piece.stale else DONE if done == 1 else TODO, "done": done, "seconds": seconds,
            "note": piece.state if piece.state.startswith(STALE) else piece.note,
            "inputs": list(dict.fromkeys(train_id(self.first[run]) for run in runs if run in self.first)),
            "runs": list(dict.fromkeys(runs)), "output": output}
