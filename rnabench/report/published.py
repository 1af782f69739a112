"""Which line of a paper's table is about a network, and what stands there."""

from __future__ import annotations

from collections.abc import Mapping

from rnabench.reference import number, published
from rnabench.report.study import ADVERSARIAL
from rnabench.settings.architectures import options_of, space_of
from rnabench.settings.parts import PARTS, activations, defences, denoisers
from rnabench.settings.recipe import Defined

ASSUMED = {"bn+in+gn+ln": "bn+in+gn32+ln"}  # Table 5 does not say how many groups; Table 1's GN has 32


def published_numbers(table: str, model: Defined) -> dict[str, float]:
    """What the paper's table says of a network by column, accuracies in percent; empty if it has no such row."""
    found: dict[str, float] = {}
    for row in published(table):
        if is_row(row, model) and (value := number(row)) is not None:
            found.setdefault(row["column"], value)
    return found


def is_row(row: Mapping[str, str], model: Defined) -> bool:
    """Whether a row of the paper's table is about this network, trained and used so."""
    if (row["dataset"], row["arch"]) != (model.dataset, model.arch) or not row["space"]:
        return False
    norms = set(space_of(model.arch, ASSUMED.get(row["space"], row["space"])).norms)
    return (norms == set(space_of(model.arch, model.space).norms) and _parts_alike(row, model)
            and _used_alike(row, model) and _trained_alike(row, model))


def _parts_alike(row: Mapping[str, str], model: Defined) -> bool:
    """Activations, denoising blocks and defence; a row that does not say has ReLUs, and nothing of these."""
    def parts(said: Mapping[str, str]) -> tuple[object, ...]:
        return (set(activations(said["activation"])), set(denoisers(said["denoise"])), said["denoise_at"],
                defences(said["defence"]))

    return parts({name: row.get(name) or usual for name, usual in PARTS.items()}) == parts(
        {name: getattr(model, name) for name in PARTS})


def _used_alike(row: Mapping[str, str], model: Defined) -> bool:
    return (row["statistics"] or "own", int(row["average"] or 1), row.get("branch") or "own") == (
        model.deploy.statistics, model.deploy.average, model.deploy.branch)


def _trained_alike(row: Mapping[str, str], model: Defined) -> bool:
    """The objective, what it goes by, the gradient of its ReLUs, and how many operators it trains."""
    if row["operators"] != ("" if model.operators is None else str(model.operators)):
        return False
    if (row.get("smooth_gradient") or "none") != model.smooth_gradient:
        return False
    if row["teacher"] and (row["teacher"] == "yes") != (model.teacher is not None):
        return False
    one_path = options_of(model.arch, model.space, model.operators, model.activation, model.denoise,
                          model.defence) == 1
    if one_path and row["training"] in ("", *ADVERSARIAL):  # black-box training is white-box training then
        return model.objective in ADVERSARIAL
    # SORS without its orthogonality is what the SORS paper calls RS: a super-network that is trained as it is
    objective = "standard" if model.objective == "sors" and not model.orthogonality else model.objective
    return row["training"] in ("", objective) and (
        not row["randomization"] or (row["randomization"] == "layer-based") == model.layer_based)


def row_title(row: Mapping[str, str]) -> str:
    """What a row of the paper's is called where none of the networks is its own."""
    parts = [row["method"], row["arch"], row["dataset"], row["training"] if row["randomization"] else "",
             row["randomization"]]
    return f"{' '.join(part for part in parts if part)}, not run"
