"""Which numbers were made by other versions of the algorithms than today's, and which versions differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnabench.settings.algorithms import BEFORE, cell_versions, outdated, study_versions, training_versions
from rnabench.settings.attacks import parse_attack
from rnabench.settings.protocols import parse_protocol


def reasons(record: Mapping[str, Any]) -> list[str]:
    """How the versions of the algorithms behind a record or a study (and its networks) differ from today's.

    Empty if they do not; networks that were trained elsewhere have no versions to compare.
    """
    if record.get("algorithms") is None:
        return [BEFORE]
    networks = record["models"] if "study" in record else [record["model"]]
    named = "its network: " if len(networks) == 1 else "network {}: "
    return own_reasons(record) + [
        named.format(network["label"]) + reason for network in networks for reason in _of_training(network)]


def own_reasons(record: Mapping[str, Any]) -> list[str]:
    """`reasons` without those of the networks' training."""
    if "study" in record:
        return outdated(record.get("algorithms"), study_versions(
            record["study"], (record["attack"] or {}).get("kind")))
    return outdated(record.get("algorithms"), _today([*record["results"], *record["sanity"]["probes"]]))


def stale_lines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """`BN, RNA: stale (pgd 1, now 2)`: one line for all that are stale for the same reasons."""
    by_reasons: dict[str, list[str]] = {}
    for record in records:
        if why := reasons(record):
            by_reasons.setdefault("; ".join(why), []).append(label(record))
    return [f"{', '.join(names)}: stale ({why}); `rnabench reproduce --refresh` makes such numbers anew"
            for why, names in by_reasons.items()]


def by_other_algorithms(new: Mapping[str, int] | None, old: Mapping[str, int] | None) -> str:
    """`made by other versions of the algorithms: pgd 2, was 1`, of two records' versions."""
    if new is None or old is None:
        return f"the {'new' if new is None else 'old'} one was {BEFORE}"
    return "made by other versions of the algorithms: " + "; ".join(
        f"{name} {new.get(name, 'none')}, was {old.get(name, 'none')}" for name in {**old, **new}
        if new.get(name) != old.get(name))


def label(record: Mapping[str, Any]) -> str:
    """The name of a record in messages: its network's label, or its study."""
    return str(record["study"] if "study" in record else record["model"]["label"])


def _today(cells: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Today's versions of the algorithms behind these cells."""
    today: dict[str, int] = {}
    for cell in cells:
        averages = cell["protocol"] != "any" and parse_protocol(cell["protocol"]).samples > 0
        parameters = cell["parameters"]
        kind = parameters.get("kind")
        today |= cell_versions(parse_attack(parameters["attack"]).kind if kind == "transfer" else kind, averages)
    return today


def _of_training(network: Mapping[str, Any]) -> list[str]:
    training = network.get("training") or {}
    if not training.get("versions"):  # converted, or anybody's network
        return []
    return outdated(training.get("algorithms"), training_versions((network.get("selected") or {}).get("by", "best")))
