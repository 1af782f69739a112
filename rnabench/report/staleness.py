"""Which numbers were made by other versions of the algorithms than today's, and which versions differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rnabench.report.network import Network
from rnabench.report.record import Record, Result
from rnabench.report.study_record import AnyRecord, StudyRecord, typed
from rnabench.settings.algorithms import BEFORE, cell_versions, outdated, study_versions, training_versions
from rnabench.settings.attacks import parse_attack
from rnabench.settings.protocols import parse_protocol


def reasons(record: AnyRecord) -> list[str]:
    """How the versions of the algorithms behind a record or a study (and its networks) differ from today's.

    Empty if they do not; networks that were trained elsewhere have no versions to compare.
    """
    made = typed(record)
    if made.algorithms is None:
        return [BEFORE]
    named = "its network: " if len(made.networks) == 1 else "network {}: "
    return own_reasons(made) + [
        named.format(network.label) + reason for network in made.networks for reason in _of_training(network)]


def own_reasons(record: Record | StudyRecord) -> list[str]:
    """`reasons` without those of the networks' training."""
    if isinstance(record, Record):
        return outdated(record.algorithms, _today(record.cells))
    attacks = record.attacks or ([record.attack] if record.attack else [])
    return outdated(record.algorithms, study_versions(record.study, *(attack.get("kind") for attack in attacks)))


def stale_lines(records: Sequence[AnyRecord]) -> list[str]:
    """`BN, RNA: stale (pgd 1, now 2)`: one line for all that are stale for the same reasons."""
    by_reasons: dict[str, list[str]] = {}
    for record in records:
        if why := reasons(record):
            by_reasons.setdefault("; ".join(why), []).append(typed(record).label)
    return [f"{', '.join(names)}: stale ({why}); `rnabench reproduce --refresh` makes such numbers anew"
            for why, names in by_reasons.items()]


def by_other_algorithms(new: Mapping[str, int] | None, old: Mapping[str, int] | None) -> str:
    """`made by other versions of the algorithms: pgd 2, was 1`, of two records' versions."""
    if new is None or old is None:
        return f"the {'new' if new is None else 'old'} one was {BEFORE}"
    return "made by other versions of the algorithms: " + "; ".join(
        f"{name} {new.get(name, 'none')}, was {old.get(name, 'none')}" for name in {**old, **new}
        if new.get(name) != old.get(name))


def _today(cells: Iterable[Result]) -> dict[str, int]:
    """Today's versions of what these cells rest on."""
    found: dict[str, int] = {}
    for cell in cells:
        averages = cell.protocol != "any" and parse_protocol(cell.protocol).samples > 0
        kind = cell.parameters.get("kind")
        found |= cell_versions(parse_attack(cell.parameters["attack"]).kind if kind == "transfer" else kind, averages)
    return found


def _of_training(network: Network) -> list[str]:
    if network.training is None or not network.training.versions:  # converted, or anybody's network
        return []
    return outdated(network.training.algorithms, training_versions((network.selected or {}).get("by", "best")))
