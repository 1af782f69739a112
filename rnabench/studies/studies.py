"""The studies of the command line: from networks and keys to results as JSON, with what every image did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.scoring.outcome import bits
from rnabench.seeding import derive
from rnabench.settings.studies import (
    GradientSimilaritySettings,
    PathDifferenceSettings,
    SmoothnessSettings,
    TheorySettings,
    TransferMatrixSettings,
)
from rnabench.studies.norm_gradients import option_at
from rnabench.studies.path_difference import path_difference, path_pairs
from rnabench.studies.results import Results, longest, short, spread
from rnabench.studies.similarity import between_networks, by_difference
from rnabench.studies.smoothness_study import smoothness
from rnabench.studies.subject import Subject, subjects
from rnabench.studies.theory import Terms, network_terms, ordering, pair_terms, similarities, summary
from rnabench.studies.transfer import TransferEntry, transfer
from rnabench.studies.work import Work

Networks = Sequence[tuple[str, RandomizedClassifier]]
RESAMPLES = 1000


def transfer_matrix(networks: Networks, keys: TransferMatrixSettings, classes: int, work: Work) -> Results:
    chosen = subjects(networks, keys.paths, keys.seed)
    matrix = transfer(chosen, keys.spec, keys.evaluation(draws=keys.draws), classes, work)
    return {"subjects": _described(chosen), "cells": [[_cell(cell) for cell in row] for row in matrix]}


def _cell(cell: TransferEntry) -> Results:
    accuracy, low, high = cell.accuracy
    success = cell.success
    return {
        "accuracy": accuracy, "interval95": [low, high],
        "success": None if success is None else success[0],
        "success_interval95": None if success is None else list(success[1:]),
        "counted": float((cell.source & cell.before).mean(1).sum()), "draws": cell.after.shape[1],
        "outcomes": {"source_clean": bits(cell.source[:, 0]), "clean": [bits(draw) for draw in cell.before.T],
                     "correct": [bits(draw) for draw in cell.after.T]},
    }


def difference(networks: Networks, keys: PathDifferenceSettings, classes: int, work: Work) -> Results:
    chosen = subjects(networks, "deployed", keys.seed)
    for subject in chosen:
        path_pairs(subject, 1, keys.seed)  # fails for a network that does not draw before any work is done
    found = []
    for subject in chosen:
        curve = path_difference(subject, keys.spec, keys.pairs, keys.evaluation(), classes, work)
        points = [dict(zip(("accuracy", "low95", "high95"), curve.accuracy(place), strict=True)) | {
            "difference": d, "share": curve.shares[place], "by_pair": curve.by_pair[:, place].tolist(),
            "gain": list(curve.gain(place)),
        } for place, d in enumerate(curve.differences)]
        expected, low, high = curve.expected
        found.append({
            "label": subject.label, "layers": len(subject.model.space.layers), "points": points,
            "expected": {"accuracy": expected, "interval95": [low, high]},
            "paths": _drawn(subject, keys.pairs, keys.seed),
            "outcomes": [[bits(curve.correct[:, pair, place]) for place in range(len(points))]
                         for pair in range(keys.pairs)],
        })
    return {"curves": found}


def _drawn(subject: Subject, pairs: int, seed: int) -> list[Results]:
    return [{"first": str(first), "others": [str(other) for other in others]}
            for first, others in path_pairs(subject, pairs, seed)]


def gradient_similarity(networks: Networks, keys: GradientSimilaritySettings, classes: int, work: Work) -> Results:
    if not keys.by_difference:
        chosen = subjects(networks, keys.paths, keys.seed)
        if len(chosen) < 2:
            raise InvalidValue("RUN", chosen[0].label, "at least two networks, --paths, or --by-difference")
        cosines = between_networks(chosen, keys.seed, work)
        cells = [[spread(cosines[:, a, b]) | {"values": short(cosines[:, a, b]) if a > b else None}
                  for b in range(len(chosen))] for a in range(len(chosen))]
        return {"subjects": _described(chosen), "cells": cells}
    chosen = subjects(networks, "deployed", keys.seed)
    for subject in chosen:
        path_pairs(subject, 1, keys.seed)
    found = []
    for subject in chosen:
        cosines, space = by_difference(subject, keys.pairs, keys.seed, work), subject.model.space
        points = [spread(cosines[:, :, place]) | {
            "difference": d, "share": space.difference_shares[d],
            "by_pair": [spread(cosines[:, pair, place])["mean"] for pair in range(keys.pairs)],
            "values": [short(cosines[:, pair, place]) for pair in range(keys.pairs)],
        } for place, d in enumerate(space.differences)]
        found.append({"label": subject.label, "layers": len(space.layers), "points": points,
                      "paths": _drawn(subject, keys.pairs, keys.seed)})
    return {"curves": found}


def theory(networks: Networks, keys: TheorySettings, classes: int, work: Work) -> Results:
    chosen = subjects(networks, keys.paths, keys.seed)
    if len(chosen) < 2:
        raise InvalidValue("RUN", chosen[0].label, "at least two networks, or --paths of a randomised one")
    for subject in chosen:
        if subject.is_random:
            raise InvalidValue("--paths", keys.paths, "normalisers or a number: the theorem is about fixed networks")
    first = next(work.source.in_order(1))
    eps = longest(keys, first, keys.length)
    radius = keys.radius or eps
    if radius == 0:
        raise InvalidValue("--eps", keys.length, "more than 0")
    lengths = [radius * (step + 1) / keys.lengths for step in range(keys.lengths)]
    matrix = transfer(chosen, keys.spec, keys.evaluation(), classes, work)
    cosines = between_networks(chosen, keys.seed, work)
    terms = [work(f"terms of {subject.label}", network_terms(subject, lengths)) for subject in chosen]
    alike = {extremes: similarities(cosines, extremes) for extremes in (True, False)}
    sums = {extremes: [summary(each, extremes) for each in terms] for extremes in (True, False)}
    pairs = []
    for b in range(len(chosen)):
        for a in range(b):
            pairs.append({
                "a": chosen[a].label, "b": chosen[b].label,
                "transfer": [_cell_rate(matrix[a][b]), _cell_rate(matrix[b][a])],
                **{name: _terms(pair_terms(sums[extremes][a], sums[extremes][b], float(alike[extremes][a, b]), eps))
                   for name, extremes in (("extremes", True), ("medians", False))},
            })
    counted = np.stack([np.stack([(c.source & c.before)[:, 0] for c in row], 1) for row in matrix], 1).astype(float)
    hits = np.stack([np.stack([(c.source & c.before & ~c.after)[:, 0] for c in row], 1) for row in matrix], 1)
    order = ordering(terms, cosines, counted, hits.astype(float), eps, RESAMPLES,
                     np.random.default_rng(derive(keys.seed, "bootstrap")))
    described = [subject | {"terms": {name: short(values) for name, values in each.items()}}
                 for subject, each in zip(_described(chosen), terms, strict=True)]
    return {"subjects": described, "eps_l2": eps, "pairs": pairs, "ordering": order, "resamples": RESAMPLES,
            "cells": [[_cell(cell) for cell in row] for row in matrix],
            "cosines": [[short(cosines[:, a, b]) if a > b else None for b in range(len(chosen))]
                        for a in range(len(chosen))]}


def _cell_rate(cell: TransferEntry) -> Results:
    success = cell.success
    return {"rate": None if success is None else success[0],
            "joint": float((cell.source & cell.before & ~cell.after).mean()),
            "interval95": None if success is None else list(success[1:])}


def _terms(terms: Terms) -> Results:
    return vars(terms) | {"bound": terms.bound}


def _described(chosen: Sequence[Subject]) -> list[Results]:
    return [{"label": subject.label, "space": "+".join(dict.fromkeys(option_at(subject.model, subject.path))) if
             subject.path and len(subject.path) else None, "path": str(subject.path) if subject.path else None,
             "draws": subject.is_random} for subject in chosen]


RUN: dict[str, Callable[[Networks, Any, int, Work], Results]] = {
    TransferMatrixSettings.kind: transfer_matrix, PathDifferenceSettings.kind: difference,
    SmoothnessSettings.kind: smoothness, GradientSimilaritySettings.kind: gradient_similarity,
    TheorySettings.kind: theory,
}
