"""The card of a defence: what was attacked, how, with which result, and how to do it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.report.claims import is_about
from rnabench.report.methods import Method
from rnabench.report.model_info import Authorship, model_info
from rnabench.report.origin import origin_lines
from rnabench.report.paper_table import read_paper_table
from rnabench.report.record import Record
from rnabench.report.record_file import reading, records_in
from rnabench.report.replay import file_name, recipe
from rnabench.report.standing import Measured, Score, Standing, network_text, standings, threat_text
from rnabench.report.table import TEXT_COLUMNS, caption, display, legend, percent
from rnabench.report.table_files import markdown_table, write_markdown
from rnabench.report.verdict import sanity_lines, verdicts
from rnabench.runtime.files import write_text

NONE = "-"


@dataclass(frozen=True)
class Card:
    """What is written of one defence: a file's stem, and the texts behind its endings."""

    stem: Path
    texts: dict[str, str]


def cards(places: Sequence[Path], out: Path | None, said: Authorship) -> list[Card]:
    """The cards of all networks whose records lie in some files, or in folders and below them; several trainings of a
    method share one. They go to `cards` beside the records, or to `out`.

    Raises RnabenchError for a file that is no record, a folder without any, and two cards of one name.
    """
    by_folder: dict[Path, dict[Path, Record]] = {}
    for place in places:
        found = dict(records_in(place)) if place.exists() else {}
        if not found:
            raise InvalidValue("RECORD", str(place), "a record (JSON) that `rnabench attack` or `reproduce` wrote, or "
                               "a folder of them")
        for file, record in found.items():
            by_folder.setdefault(file.parent.resolve(), {})[file.resolve()] = record
    written: dict[Path, Card] = {}
    for folder, records in by_folder.items():
        with reading(folder):
            found_here = standings(list(records.values()), read_paper_table(folder))
        for standing in found_here:
            stem = (out or folder / "cards") / file_name(standing.method.name)
            if stem in written:
                raise RnabenchError(f"RECORD: {standing.method.name!r} lies in several of these folders; expected one "
                                    "of them, or no --out, so that each has its cards beside its records")
            claims = [line for line in _paragraphs(folder / "paper.md") + _paragraphs(folder / "table.md")
                      if is_about(line, standing.method.name)]
            with reading(folder):
                written[stem] = _card(standing, list(records.values()), stem, said, claims)
    return list(written.values())


def card_of(record: Record, stem: Path) -> Card:
    """The card of the network of one record."""
    return _card(standings([record], None)[0], [record], stem, Authorship(), ())


def write_card(card: Card) -> list[Path]:
    """Write its files. Raises RnabenchError where that cannot be."""
    files = [card.stem.with_name(card.stem.name + ending) for ending in card.texts]
    for file, text in zip(files, card.texts.values(), strict=True):
        (write_markdown if file.suffix == ".md" else write_text)(file, text)
    return files


def _paragraphs(file: Path) -> list[str]:
    """Of a Markdown file, each on one line; none of one that cannot be read."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _card(standing: Standing, records: Sequence[Record], stem: Path, said: Authorship, claims: Sequence[str]) -> Card:
    baseline = _baseline(standing.method, records)
    again = recipe(standing.method, baseline)
    texts = {".md": markdown(standing, baseline, claims, f"{stem.name}.yaml" if again else None),
             ".json": json.dumps(model_info(standing, said), indent=2, ensure_ascii=False) + "\n"}
    return Card(stem, texts | ({".yaml": again} if again else {}))


def _baseline(method: Method, records: Sequence[Record]) -> Method | None:
    """The deterministic method that it was judged beside, if its records are there too."""
    named = {record.baseline.digest for record in method.records if record.baseline}
    found = [record for record in records if record.digest in named]
    whole = [record for record in records if found and record.method == found[0].method]
    return Method(found[0].method, tuple(whole)) if found and found[0].method != method.name else None


def markdown(standing: Standing, baseline: Method | None, claims: Sequence[str], recipe_file: str | None) -> str:
    """The card as people read it; `claims` are the sentences on a paper's claims about it."""
    records = standing.method.records
    judged = (*baseline.records, *records) if baseline else records
    headings, rows = display(records)
    checks = [*sanity_lines(records), *origin_lines(records)]
    parts = [
        f"# {standing.method.title}", _what(standing),
        "## Threat model", _threat(records),
        "## Numbers", _numbers(standing), *verdicts(judged), *claims,
        "## Every attack under every protocol", f"{caption(records)}.",
        markdown_table(rows, headings, TEXT_COLUMNS), legend(records),
        "## Sanity checks", "\n".join(f"- {line}" for line in checks) or "None was made.",
        "## Replay", *_replay(standing, recipe_file),
    ]
    return "\n\n".join(parts) + "\n"


def _what(standing: Standing) -> str:
    network = standing.network
    kind = "Deterministic" if not network.randomised else (
        f"Randomised over {int(network.paths):,} paths" if network.paths else "Randomised")
    parameters = "parameters not recorded" if network.parameters is None else f"{network.parameters:,} parameters"
    passes = standing.forward_passes
    warning = " **A sanity check failed: see below which numbers not to rely on.**" if standing.unreliable else ""
    return (f"{kind}: {network_text(network)}; {parameters}, {passes} forward pass{'es' if passes > 1 else ''} for a "
            f"prediction, {standing.trainings} training{'s' if standing.trainings > 1 else ''}.{warning}")


def _threat(records: Sequence[Record]) -> str:
    first = records[0]
    data, evaluation = first.data, first.evaluation
    knows, serves = "the weights", ""
    if first.model.randomised:
        knows = "the weights, and how draws are made, but not the draw that predicts (under `same-path`: that one too)"
        serves = f"; {evaluation.attack_paths} groups of images, each with draws of its own" * bool(
            evaluation.attack_paths)
    lines = [
        f"{threat_text(first.threat)}; the attacker knows {knows}.",
        f"Images: {data.name}, {len(data.indices):,} of its test images, {len(data.classes)} classes, fingerprint "
        f"`{data.fingerprint}`.",
        f"Protocols: {', '.join(dict.fromkeys(f'`{result.protocol}`' for result in first.results))}"
        f"{serves}.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _numbers(standing: Standing) -> str:
    tries, stated = standing.after_tries, standing.published
    adaptive = standing.adaptive
    if not standing.network.randomised:
        label, draws = "after any number of tries", "nothing is drawn"
    else:
        draws = f"{adaptive.draws} draws" if isinstance(adaptive, Score) else str(adaptive)
        label = f"after {adaptive.draws} tries" if isinstance(adaptive, Score) else "after tries"
    rows = [
        _row("natural", standing.natural), _row("paper's protocol, worst bounded attack", standing.paper),
        _row("adaptive worst case", standing.adaptive),
        (label, NONE if tries is None else percent(tries), NONE, draws),
        ("published, under the strongest attack", f"{stated.accuracy:.2f}", NONE, stated.attack) if stated else
        ("published", NONE, NONE, "no number of a paper's stands beside it"),
    ]
    return markdown_table(rows, ("what is left", "accuracy %", "spread", "of what"), text_columns=1, last_is_text=True)


def _row(name: str, found: Measured) -> tuple[str, str, str, str]:
    if isinstance(found, str):
        return name, NONE, NONE, found
    attack = "no attack" if found.attack == "natural" else f"{found.attack} / {found.protocol}"
    drawn = f", {found.draws} draws" if found.draws > 1 else ""
    return (name, percent(found.accuracy) + "!" * found.unreliable, found.spread,
            f"{attack}, {found.images:,} images{drawn}")


def _replay(standing: Standing, recipe_file: str | None) -> list[str]:
    records = standing.method.records
    rows = [(record.label, record.model.digest or NONE, record.digest, record.settings_digest or NONE,
             record.git or NONE, record.model.weights_sha256) for record in records]
    headings = "network", "training digest", "record digest", "settings digest", "revision", "weights SHA-256"
    table = markdown_table([tuple(f"`{cell}`" for cell in row) for row in rows], headings, len(headings))
    if recipe_file:
        command = f"```sh\nrnabench reproduce {recipe_file}\n```"
        said = ("This trains and attacks it again (where images are in files: with `--data-dir`); the training digest "
                "below is that of these settings. Other libraries, devices or threads round differently, and so train "
                "slightly different networks: `rnabench check` says whether their numbers differ beyond chance.")
        data, trained = records[0].data.name, (standing.network.trained_on or {}).get("name")
        other = [f"It was attacked on {data}, not on the test images of {trained}: name these in the recipe under "
                 "`test`."] if trained not in (None, data) else []
        transferred = [result.attack for result in records[0].results if result.parameters.get("kind") == "transfer"]
        if transferred:
            other.append(f"It leaves out {', '.join(dict.fromkeys(transferred))}, made on {records[0].surrogate}: "
                         "`rnabench attack --transfer-from RUN` makes these.")
        return [command, said, *other, table]
    if standing.network.recipe is None and standing.network.code is not None:
        code = ", ".join(f"{name} `{value}`" for name, value in standing.network.code.items())
        return [f"The network comes from elsewhere ({code}): attack it with `rnabench attack {_imported(standing)}` "
                "and the settings that the record keeps.", table]
    return ["The record does not keep how its network was trained in a form that today's version reads. Weights of "
            "this hash, attacked with the settings that the record keeps, give the same numbers.", table]


def _imported(standing: Standing) -> str:
    """The options that name a network from elsewhere: a recipe calls it something else than where it is."""
    said = standing.network.imported or {"import": standing.network.label}
    arguments = [f"--model-args {name}={json.dumps(value)}" for name, value in said.get("args", {}).items()]
    file = [f"--model-weights {said['weights']}"] if "weights" in said else []
    return " ".join(shlex.quote(word) for part in (f"--model {said['import']}", *arguments, *file)
                    for word in part.split(" ", 1))
