"""A defence as RobustBench's leaderboard describes one: the fields of its `model_info/<dataset>/<norm>/<name>.json`.

Texts as there: accuracies in percent with two decimals, `8/255` for an eps. What records cannot know is empty, or null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnabench.report.record import Result
from rnabench.report.standing import Score, Standing, architecture_text
from rnabench.report.table import percent
from rnabench.settings.pixels import in_255ths


@dataclass(frozen=True)
class Authorship:
    """What only its authors can say of a defence; `additional_data`: it was trained on more than the data set's own
    images, None: as far as the record knows."""

    name: str = ""
    authors: str = ""
    venue: str = ""
    link: str = ""
    additional_data: bool | None = None


def model_info(standing: Standing, said: Authorship) -> dict[str, Any]:
    """The fields. `autoattack_acc` is standard AutoAttack's, so a randomised defence has none (null): it stops at an
    image that one lucky forward pass gets right. `external`, which RobustBench ranks by, is the adaptive worst case,
    and `footnote` says of what."""
    record, adaptive = standing.method.records[0], standing.adaptive
    threat, trained = record.threat, standing.network.trained_on is not None
    return {
        "link": said.link, "name": said.name or standing.method.name, "authors": said.authors,
        "additional_data": said.additional_data if said.additional_data is not None else (False if trained else None),
        "number_forward_passes": standing.forward_passes, "dataset": record.data.name, "venue": said.venue,
        "architecture": architecture_text(standing.network),
        "eps": in_255ths(threat.eps) if threat.norm == "Linf" else f"{threat.eps:g}",
        "clean_acc": _two_decimals(standing.natural),
        "reported": None if standing.published is None else f"{standing.published.accuracy:.2f}",
        "autoattack_acc": _autoattack(standing),
        **({"external": _two_decimals(adaptive)} if isinstance(adaptive, Score) else {}),
        "footnote": footnote(standing), "unreliable": standing.unreliable,
    }


def footnote(standing: Standing) -> str:
    """What the numbers are, in sentences."""
    adaptive, paper = standing.adaptive, standing.paper
    record, randomised = standing.method.records[0], standing.network.randomised
    several = f", mean of {standing.trainings} trainings" if standing.trainings > 1 else ""
    parts = []
    if isinstance(adaptive, str):
        parts.append(f"Its adaptive worst case was not measured: {adaptive}.")
    else:
        over = (f"attacks that average over its random draws ({adaptive.protocol}), scored on {adaptive.draws} others"
                if randomised else "bounded attacks")
        parts.append(f"{percent(adaptive.accuracy)}% is the worst case over {over} ({adaptive.attack}; "
                     f"{adaptive.images:,} images, {adaptive.spread}{several}).")
    if randomised and isinstance(paper, Score):
        parts.append(f"{percent(paper.accuracy)}% is left if one draw is attacked and others predict ({paper.attack}, "
                     f"{paper.images:,} images).")
    if randomised and standing.after_tries is not None and isinstance(adaptive, Score) and adaptive.draws > 1:
        parts.append(f"{percent(standing.after_tries)}% stays right on all of {adaptive.draws} tries.")
    if randomised:
        parts.append("Standard AutoAttack is not meant for randomised networks, so its field is empty.")
    if standing.published is not None:
        parts.append(f"The reported number ({standing.published.attack}) is the paper's, of its own network.")
    if standing.unreliable:
        parts.append("A sanity check failed.")
    return " ".join([*parts, f"Measured by rnabench {record.versions.get('rnabench', '')}".rstrip() + "."])


def _autoattack(standing: Standing) -> str | None:
    """Standard AutoAttack's accuracy of a deterministic network, if all its trainings were attacked so."""
    found = [result.accuracy for record in standing.method.records for result in record.results
             if not record.model.randomised and _is_standard(result) and result.parameters["eps"] == record.threat.eps]
    return f"{100 * sum(found) / len(found):.2f}" if len(found) == standing.trainings else None


def _is_standard(result: Result) -> bool:
    return result.parameters.get("kind") == "autoattack" and result.parameters.get("version") == "standard"


def _two_decimals(found: Score | str) -> str | None:
    return f"{100 * found.accuracy:.2f}" if isinstance(found, Score) else None
