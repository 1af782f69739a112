"""A record's settings as a recipe, so that whoever reads its numbers can make them again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from rnabench.errors import InvalidValue
from rnabench.report.methods import Method
from rnabench.report.record import Record
from rnabench.settings.attacks import parse_entry
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.initial import init_name
from rnabench.settings.training import TrainingSettings

ALWAYS = ("dataset", "arch", "space")  # said even where they are the default
ELSEWHERE = ("capture", "seed", "teacher", "data_dir", "download")  # said in another way, or no part of what was done
FOLDER = "data"  # where a recipe looks for images that a record does not say the place of


def recipe(method: Method, baseline: Method | None = None) -> str | None:
    """The YAML of a recipe that trains the networks of a method (and of the baseline that it was judged beside) and
    attacks them as they were attacked, but for images made on other networks, which recipes do not name. None if no
    attack is left, for networks that were not trained here, and for older records, which do not keep all settings of
    the training, or keep some that mean something else by now."""
    models: dict[str, Any] = {}
    among = [each for each in (baseline, method) if each is not None]
    for each in among:
        if (found := _model(each)) is None:
            return None
        models |= found
    try:
        evaluation = evaluation_of(method.records[0])
    except ValidationError:
        return None
    if evaluation.attacks:
        own = tuple(attack for attack in evaluation.attacks if not parse_entry(attack).transferred)
        if not own:
            return None
        evaluation = evaluation.model_copy(update={"attacks": own})
    content = {
        "name": re.sub(r"[^a-z0-9]+", "-", method.name.lower()).strip("-") or "card",
        "title": f"{method.name}, as it was trained and attacked",
        "models": models, "table": [each.name for each in among],
        **({"baseline": baseline.name} if baseline else {}),
        "evaluate": evaluation.model_dump(mode="json", exclude_defaults=True, exclude_none=True),
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def training_of(record: Record) -> TrainingSettings | None:
    """How the network was trained; None where the record does not say, where its weights were changed since, or where
    its digest is of something else."""
    said = record.model.recipe
    if said is None or record.model.rounded:
        return None
    place = {"data_dir": FOLDER} if said.get("dataset") == "folder" else {}
    try:
        found = TrainingSettings.model_validate(place | said)
    except ValidationError:
        return None
    try:
        return found if found.digest() == record.model.digest else None
    except InvalidValue:  # the weights that it started from are not here
        return None


def evaluation_of(record: Record) -> EvaluationSettings:
    """How the network was attacked. Raises ValidationError for settings that are none by now."""
    threat, said = record.threat, record.evaluation.content()
    steps = {} if abs(threat.step_size - threat.eps / 4) < 1e-12 else {"step_size": threat.step_size}
    return EvaluationSettings.model_validate({"norm": threat.norm, "eps": threat.eps} | steps | said)


def file_name(name: str) -> str:
    """A name as that of a file."""
    return re.sub(r"[^\w.+\[\]-]+", "-", name).strip("-.") or "card"


def _model(method: Method) -> dict[str, Any] | None:
    """A method as the `models` of a recipe have it, with the networks that it learned from."""
    trainings = [training_of(record) for record in method.records]
    first, network = trainings[0], method.records[0].model
    if first is None or None in trainings:
        return None
    own, teachers = _with_teachers(method.name, first)
    seeds: Sequence[int] = [training.seed for training in trainings if training is not None]
    own |= {"seeds": seeds} if len(seeds) > 1 else {"seed": first.seed}
    if network.deployed:
        own["deploy"] = network.deployed.model_dump(exclude_defaults=True)
    return teachers | {method.name: own}


def _with_teachers(name: str, training: TrainingSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that are not the default, and the models that it learned from, by name."""
    own = training.model_dump(mode="json", exclude_defaults=True, exclude=set(ELSEWHERE))
    own = {key: getattr(training, key) for key in ALWAYS} | own
    if training.dataset == "folder":
        own["data_dir"] = FOLDER
    if training.init is not None:
        own["init"] = init_name(training.init)
    if training.teacher is None:
        return own, {}
    teacher = f"{name}-teacher"
    settings, others = _with_teachers(teacher, training.teacher)
    return own | {"teacher": teacher}, others | {teacher: settings | {"seed": training.teacher.seed}}
