"""Where numbers come from: by which revisions, libraries and devices, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rnabench.report.staleness import label, stale_lines
from rnabench.runtime.environment import LIBRARIES, made_by, versions


def origin_lines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What readers of these records must be warned of: stale numbers, and mixed revisions, versions or devices.

    Each line begins with WARN.
    """
    return [f"WARN {line}" for line in (*stale_lines(records), *_mixed(records), *_different(records))]


def _mixed(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Records whose cells, or batches, were made by several revisions, versions of torch or devices."""
    lines = []
    for record in records:
        makers = record.get("made_by", [])
        for name, words in (("git", "revisions"), ("torch", "versions of torch"), ("device", "devices")):
            values = list(dict.fromkeys(str(maker[name] or "outside git") for maker in makers))
            if len(values) > 1:
                lines.append(f"{label(record)}: made by {len(values)} {words}: {', '.join(values)}")
    return lines


def _different(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Libraries and devices in which the records, and the trainings of their networks, differ from each other."""
    made = [(label(record), record) for record in records]
    trained = [(network["label"], network["training"]) for record in records
               for network in record.get("models", [record.get("model", {})])
               if (network.get("training") or {}).get("versions")]
    lines = []
    for what, sources in (("attacked", made), ("trained", trained)):
        by_setting: dict[str, dict[str, list[str]]] = {}
        for name, source in sources:
            for setting, value in _surroundings(source).items():
                by_setting.setdefault(setting, {}).setdefault(value, []).append(name)
        for setting, values in by_setting.items():
            if len(values) > 1:
                said = "; ".join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in values.items())
                lines.append(f"not all {what} with the same {setting}: {said}")
    return lines


def taken_over(record: Mapping[str, Any], started: str, device: str) -> str | None:
    """What to say of a record that was made before `started` (a time as records have it): when, by which revision, and
    by which libraries and device if not by those of this process. None for a record that was made since.
    """
    made = record.get("made")
    if made and made >= started:
        return None
    when = f"{datetime.fromisoformat(made):%Y-%m-%d %H:%M} UTC" if made else "at a time that it does not say"
    others = "".join(f"; {each}" for each in elsewhere(record, versions(), made_by(device)["device"]))
    return f"taken over: made {when} by revision {record.get('git') or 'outside git'}{others}"


def elsewhere(record: Mapping[str, Any], versions: Mapping[str, str], device: str | None) -> list[str]:
    """`torch 2.11.0, here 2.15.0`: where a record's libraries and device are not those given."""
    here = {**versions, "device": device}
    return [f"{setting} {value}, here {here[setting]}" for setting, value in _surroundings(record).items()
            if here.get(setting, value) != value]


def _surroundings(source: Mapping[str, Any]) -> dict[str, str]:
    """The versions of libraries by name, and the device: a CUDA device's name, or `cpu`."""
    device = source.get("device") or {}
    device = device if isinstance(device, Mapping) else {"device": device}
    kind = str(device.get("device", ""))
    found = {name: version for name, version in source.get("versions", {}).items() if name in LIBRARIES}
    return found | ({"device": str(device.get("name")) if kind.startswith("cuda") else kind} if kind else {})
