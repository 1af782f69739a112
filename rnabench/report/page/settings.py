"""How numbers were made: the settings that a record keeps, as names and texts, and what each of its results took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rnabench.report.record import Record, Result
from rnabench.settings.pixels import in_255ths

NAMES = {
    "digest": "training digest", "weights_sha256": "weights SHA-256", "git": "git revision", "arch": "architecture",
    "objective": "training objective", "selected": "selected checkpoint", "n_examples": "images asked for",
    "training": "trained by", "suites": "own suites",
}
PLAIN = ("name", "device")  # in a row of settings, these say what they are
ORIGIN = ("made", "made_by", "algorithms", "git", "device", "versions", "baseline", "seconds_of_last_call")
FEW = 12  # ranges of indices that are written out


@dataclass(frozen=True)
class Group:
    """Settings under one heading."""

    title: str
    settings: tuple[tuple[str, str], ...]


def network(model: dict[str, Any]) -> tuple[Group, ...]:
    """The attacked network, and how it was trained (older records did not keep the whole recipe)."""
    recipe = model.get("recipe") or {}
    own = {name: value for name, value in model.items() if name != "recipe"}
    return (Group("Network and training", _settings(own)),
            *([Group("Training recipe", _settings(recipe, "Linf"))] if recipe else []))


def of_record(record: Record, file: str) -> tuple[Group, ...]:
    """All settings that the results of a record share."""
    kept, norm = record.content(), record.threat.norm
    attacked = [result for result in record.results if result.attack != "natural"]
    evaluation = {"protocols run": list(dict.fromkeys(result.protocol for result in attacked)),
                  "attacks run": list(dict.fromkeys(result.attack for result in attacked))} | kept["evaluation"]
    if record.headline:
        evaluation = {"worst case over": record.headline.attacks} | evaluation
    return (
        *network(kept["model"]),
        _data(kept["data"]),
        Group("Threat model", _settings(kept["threat"], norm)),
        Group("Evaluation", _settings(evaluation, norm)),
        _origin(kept, file, "record digest"),
    )


def apart_from(first: Sequence[Group], name: str, groups: Iterable[Group]) -> tuple[Group, ...]:
    """Those of another network beside the `first`, which is called `name`: only what differs is said again."""
    known = {group.title: dict(group.settings) for group in first}

    def short(group: Group) -> Group:
        before, settings = known.get(group.title, {}), dict(group.settings)
        own = [(each, value) for each, value in settings.items() if before.get(each) != value]
        if len(own) < len(settings):
            own += [(each, "-") for each in before if each not in settings]
            own.append(("all else" if own else "all", f"as of {name}"))
        return Group(group.title, tuple(own))
    return tuple(map(short, groups))


def of_study(record: dict[str, Any], file: str) -> tuple[Group, ...]:
    """All settings of a study but those of its networks."""
    norm = record["keys"]["norm"]
    attacks = record.get("attacks") or ([record["attack"]] if record["attack"] else [])
    resolved = [Group("Attack, resolved", _settings(attack, norm)) for attack in attacks]
    return (Group("Study", _settings({"study": record["study"]} | record["keys"], norm)), *resolved,
            _data(record["data"]), _origin(record, file, "study digest"))


def of_measurement(result: dict[str, Any], file: str) -> tuple[Group, ...]:
    """All settings of a `bench` or a `crosscheck`."""
    recipe = (Group("Recipe", _settings(result["recipe"], "Linf")),) if "recipe" in result else ()
    wanted = ("model", "dataset", "path", "eps", "seed", "repeats")
    shared: dict[str, Any] = {name: result[name] for name in wanted if name in result}
    if "indices" in result:
        shared |= {"images": len(result["indices"]), "their indices": ranges(result["indices"])}
    return Group("Measurement", _settings(shared, "Linf")), *recipe, _origin(result, file, "training digest")


SERVED = {"group": "a path group", "batch": "a batch", "sample": "one image"}
RESULT_HEADINGS = ("attack", "protocol", "accuracy %", "images", "draws", "a draw serves", "seconds", "parameters")


def result_rows(results: Iterable[Result], norm: str) -> list[tuple[str, ...]]:
    """One row per attack and protocol: how many images and draws, how long, with which resolved parameters."""
    return [(each.attack, each.protocol, f"{100 * each.accuracy:.2f}", str(each.images), str(each.draws),
             SERVED.get(each.draws_are, each.draws_are), f"{each.seconds:.2f}", text(each.parameters, norm))
            for each in results]


def text(value: Any, norm: str = "", name: str = "") -> str:
    """A setting as people write it: lengths of a Linf ball in 255ths of the pixel range, nested settings in a row."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{'' if key in PLAIN else key.replace('_', ' ') + ' '}{text(part, norm, key)}"
                         for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text(part, norm, name) for part in value)
    if isinstance(value, float):
        return in_255ths(value) if norm == "Linf" and name in ("eps", "step_size") else f"{value:.6g}"
    return f"{value:,}" if name in ("parameters", "train_examples", "holdout_examples") else str(value)


def ranges(indices: Sequence[int]) -> str:
    """`0-99, 250`; the first of them, and how many more there are, if they do not come in a row."""
    found: list[list[int]] = []
    for index in indices:
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    shown = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found[:FEW])
    left = len(indices) - sum(high - low + 1 for low, high in found[:FEW])
    return f"{shown} and {left} more" if left else shown


def _settings(values: dict[str, Any], norm: str = "") -> tuple[tuple[str, str], ...]:
    """Names and texts; settings without a value come last, by name only."""
    texts = {NAMES.get(name, name.replace("_", " ")): text(value, norm, name) for name, value in values.items()}
    unset = ", ".join(name for name, value in texts.items() if value == "-")
    return *(item for item in texts.items() if item[1] != "-"), *([("not set", unset)] if unset else [])


def _data(data: dict[str, Any]) -> Group:
    shown = {"data set": data["name"], "fingerprint": data["fingerprint"], "images": len(data["indices"]),
             "their indices": ranges(data["indices"]), "classes": len(data["classes"])}
    return Group("Data", _settings(shown))


def _origin(content: dict[str, Any], file: str, digest: str) -> Group:
    shown = {"file": file, digest: content.get("digest")} | {
        name: content[name] for name in ORIGIN if name in content}
    return Group("Made by", _settings(shown))
