"""Where numbers come from: by which revisions, libraries and devices, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rnabench.report.network import Training
from rnabench.report.record import Made
from rnabench.report.staleness import stale_lines
from rnabench.report.study_record import AnyRecord, typed
from rnabench.runtime.environment import LIBRARIES, made_by, versions


def origin_lines(records: Sequence[AnyRecord]) -> list[str]:
    """All that a reader of these records must know of how they were made; each line begins with WARN."""
    all_typed = [typed(record) for record in records]
    return [f"WARN {line}" for line in (*stale_lines(records), *_mixed(all_typed), *_different(all_typed))]


def _mixed(records: Sequence[Made]) -> list[str]:
    """Records whose cells, or batches, were not all made by the same."""
    lines = []
    for record in records:
        for name, words in (("git", "revisions"), ("torch", "versions of torch"), ("device", "devices")):
            values = list(dict.fromkeys(str(getattr(maker, name) or "outside git") for maker in record.made_by))
            if len(values) > 1:
                lines.append(f"{record.label}: made by {len(values)} {words}: {', '.join(values)}")
    return lines


def _different(records: Sequence[Made]) -> list[str]:
    """In what the records, and the trainings of their networks, differ from each other."""
    made: list[tuple[str, Made | Training]] = [(record.label, record) for record in records]
    trained: list[tuple[str, Made | Training]] = [
        (network.label, network.training) for record in records for network in record.networks
        if network.training is not None and network.training.versions]
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


def taken_over(record: AnyRecord, started: str, device: str) -> str | None:
    """What to say of a record that was made before `started` (a time as records have it): when, by which revision, and
    by which libraries and device if not by those of this process. None for a record that was made since.
    """
    source = typed(record)
    if source.made and source.made >= started:
        return None
    when = (f"{datetime.fromisoformat(source.made):%Y-%m-%d %H:%M} UTC" if source.made else
            "at a time that it does not say")
    others = "".join(f"; {each}" for each in elsewhere(source, versions(), made_by(device)["device"]))
    return f"taken over: made {when} by revision {source.git or 'outside git'}{others}"


def elsewhere(record: Made, versions: Mapping[str, str], device: str | None) -> list[str]:
    """`torch 2.11.0, here 2.15.0`: in what a record's libraries and device are not those given."""
    here = {**versions, "device": device}
    return [f"{setting} {value}, here {here[setting]}" for setting, value in _surroundings(record).items()
            if here.get(setting, value) != value]


def _surroundings(source: Made | Training) -> dict[str, str]:
    """Libraries by name, and the device: what a CUDA device is called, or `cpu`."""
    found = {name: version for name, version in (source.versions or {}).items() if name in LIBRARIES}
    if (device := source.device) is None:
        return found
    return found | {"device": device.name if device.device.startswith("cuda") else device.device}
