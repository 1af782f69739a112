"""A study's record told in words, and drawn as CSV, Markdown and figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rnabench.errors import InvalidValue, one_of
from rnabench.report.figure import save
from rnabench.report.table_files import csv_text, markdown_table, write_markdown
from rnabench.runtime.files import write_text
from rnabench.settings.architectures import WITHOUT_NORMS
from rnabench.settings.deployment import with_use
from rnabench.settings.parts import unusual_parts, with_parts
from rnabench.settings.pixels import in_255ths
from rnabench.settings.spaces import NORMS, parse_space
from rnabench.settings.studies import STUDIES, Study

ADVERSARIAL = ("white-box", "black-box")  # the paper's adversarial objectives
MOST_KINDS = 3  # of networks that a title lists


def study_of(record: dict[str, Any]) -> type[Study]:
    """What measured it. Raises ValueError for a study that is not installed."""
    if record["study"] not in STUDIES:
        raise ValueError(f"study {record['study']!r}, not {one_of(STUDIES)}")
    return STUDIES.get(record["study"])


def write_study(record: dict[str, Any], stem: Path, title: str) -> list[Path]:
    """Write <stem>.csv, <stem>.md, and <stem>[-part].png and .svg."""
    study = study_of(record)
    files = [stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".md")]
    write_text(files[0], csv_text(study.rows(record)))
    write_markdown(files[1], markdown(record, title))
    for part, figure in study.figures(record).items():
        files += save(figure, stem.with_name(stem.name + part))
    return files


def markdown(record: dict[str, Any], title: str) -> str:
    """Findings, tables, remarks on the origin, and what the columns mean."""
    from rnabench.report.origin import origin_lines

    study = study_of(record)
    parts = [f"# {title}", heading(record) + ".", *study.findings(record)]
    for name, headings, lines in study.tables(record):
        parts += [f"**{name}**", markdown_table(lines, headings, text_columns=1)]
    return "\n\n".join([*parts, *origin_lines([record]), legend(record)]) + "\n"


def heading(record: dict[str, Any]) -> str:
    """What was measured, of what."""
    return f"{study_of(record).title}: {caption(record)}"


def legend(record: dict[str, Any]) -> str:
    """What the columns mean, as far as they are there."""
    study = study_of(record)
    marked = any(row.get("paper_percent") is not None for row in study.rows(record))
    return f"{study.legend_of(record)} {PUBLISHED}" if marked else study.legend_of(record)


def caption(record: dict[str, Any]) -> str:
    """Networks, data and attack, in a sentence without its full stop."""
    models, attack = record["models"], record["attack"]
    networks = _networks(models)
    training = ", ".join(dict.fromkeys(_training(model) for model in models if model.get("objective")))
    parts = [f"{networks}, {training}".removesuffix(", "),
             f"{record['data']['name']}, {len(record['data']['indices']):,} test images"]
    named: dict[str, list[str]] = {}  # attacks by what is said of their sizes
    for each in record.get("attacks") or ([] if attack is None else [attack]):
        length = in_255ths if record["keys"]["norm"] == "Linf" else "{:.4g}".format
        sizes = [f"{text} {length(each[name])}" for name, text in (("eps", "eps"), ("step_size", "step"))
                 if each.get(name) is not None]
        said = f", {record['keys']['norm']} {', '.join(sizes)}" if "eps" in each else ""
        named.setdefault(said, []).append(re.sub(r"^([a-z]+)(\d+)$", r"\1-\2", each["name"]).upper())
    parts += [", ".join(names) + said for said, names in named.items()]
    mates = [model["label"] for model in models if model.get("batch_dependent")]
    if mates and "sizes" not in record["keys"]:  # a study of batch sizes shows them
        parts.append(f"predictions of {', '.join(mates)} depend on batch mates: batches of "
                     f"{record['keys']['batch_size']}")
    return "; ".join(parts)


def _networks(models: list[dict[str, Any]]) -> str:
    """What they are; of many kinds, what these have in common: a row names each."""
    plain = [f"{model['arch']} width {model['width']}" if model.get("arch") else f"{model['label']} (imported)"
             for model in models]
    kinds = dict.fromkeys(with_parts(text, model) if model.get("arch") else text
                          for text, model in zip(plain, models, strict=True))
    if len(kinds) <= MOST_KINDS:
        return ", ".join(kinds)
    return f"{len(models)} networks of {', '.join(dict.fromkeys(plain))}"


def _training(model: dict[str, Any]) -> str:
    objective = str(model["objective"])
    if objective == "standard":
        return "naturally trained"
    return "adversarially trained" if objective in ADVERSARIAL else f"trained by objective {objective}"


PUBLISHED = "**paper**: the published value, of full-size networks on all of CIFAR-10."


def like_the_paper(record: dict[str, Any]) -> bool:
    """Whether published numbers may stand beside these: CIFAR-10 (or a part or copy of it), adversarially trained
    ResNet-18s, Linf 8/255. Theirs are of full networks."""
    attack = record["attack"] or {}
    return is_cifar10(record["data"]["name"]) and record["keys"]["norm"] == "Linf" and abs(
        attack.get("eps", 0) - 8 / 255) < 1e-9 and all(
        model.get("arch") == "resnet18" and model["objective"] in ADVERSARIAL and not model.get("deployed")
        and not unusual_parts(model)
        for model in record["models"])


def is_cifar10(name: str) -> bool:
    """By its name, `cifar10` or `cifar10-...`; what is corrupted, as in `cifar10, fog:3`, is another."""
    return name == "cifar10" or (name.startswith("cifar10-") and ", " not in name)


def family(space: str | None) -> str | None:
    """GN or BGN (section 3.1) for a space of one normaliser, or one range of them, as trained; else None."""
    if space in (None, WITHOUT_NORMS) or "+" in space:
        return None
    try:
        norm = parse_space(space).norms[0]
    except InvalidValue:  # with statistics from elsewhere
        return None
    return NORMS.get(norm.name).family


def spaces(record: dict[str, Any]) -> list[str]:
    """The space of every subject's normalisers (and how it is deployed, if not as trained): its network's, or what the
    path that it is held on uses."""
    own = {model["label"]: with_use(model.get("space") or model["label"], model.get("deployed"))
           for model in record["models"]}
    return [subject["space"] or own[_network(subject)] for subject in record["results"]["subjects"]]


def _network(subject: dict[str, Any]) -> str:
    """The label of the network that a subject is, or of which it is a path."""
    label = str(subject["label"])
    return label if subject.get("path") is None else label.rpartition(": ")[0]


def with_interval(share: float | None, interval: list[float] | None) -> str:
    """`52.1 [48.0, 56.2]` from shares in [0, 1]."""
    if share is None:
        return "-"
    low, high = interval or (share, share)
    return f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
