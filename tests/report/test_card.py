"""Cards of defences: the numbers of the records, RobustBench's fields, and a recipe whose digests are the records'."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rnabench.errors import RnabenchError
from rnabench.report.card import Card, cards, write_card
from rnabench.report.methods import Method
from rnabench.report.model_info import Authorship
from rnabench.report.record import Record
from rnabench.report.record_file import records_in, write_record
from rnabench.report.replay import evaluation_of, recipe, training_of
from rnabench.report.scores import judged
from rnabench.settings.recipe_loading import load_recipe
from tests.report.records import CLEAN, changed
from tests.report.test_report import record

RESULTS = Path(__file__).parents[2] / "results"
TYPES: dict[str, tuple[type, ...]] = {  # as in RobustBench's files; None: not known
    "link": (str,), "name": (str,), "authors": (str,), "additional_data": (bool, type(None)),
    "number_forward_passes": (int,), "dataset": (str,), "venue": (str,), "architecture": (str,), "eps": (str,),
    "clean_acc": (str, type(None)), "reported": (str, type(None)), "autoattack_acc": (str, type(None)),
    "external": (str,), "footnote": (str,), "unreliable": (bool,)}
NOBODY = Authorship()


def info(card: Card) -> dict[str, Any]:
    found = json.loads(card.texts[".json"])
    assert isinstance(found, dict)
    return found


def by_method(folder: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for _, each in records_in(folder):
        found.setdefault(each.method, []).append(each)
    return found


@pytest.fixture(scope="module", params=["quickstart", "table1-cpu", "quickstart-suites", "sors-table2-cpu"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
            ) -> tuple[dict[str, list[Record]], dict[str, Card]]:
    """The records of a folder by method, and the cards that were made of them."""
    folder = RESULTS / str(request.param)
    made = cards([folder], tmp_path_factory.mktemp("cards"), NOBODY)
    assert len({card.stem for card in made}) == len(made)
    for card in made:
        write_card(card)
    return by_method(folder), {card.stem.name: card for card in made}


Written = tuple[dict[str, list[Record]], dict[str, Card]]


def test_one_card_a_method_with_robustbenchs_fields(written: Written) -> None:
    methods, made = written
    assert set(made) == set(methods)
    for name, card in made.items():
        found, records = info(card), methods[name]
        assert set(TYPES) - {"external"} <= set(found) <= set(TYPES)
        for field, value in found.items():
            assert isinstance(value, TYPES[field]), field
        assert [found[field] for field in ("authors", "venue", "link")] == ["", "", ""], "nothing is invented"
        for field in ("clean_acc", "reported", "autoattack_acc", "external"):
            assert re.fullmatch(r"\d{1,3}\.\d\d", found.get(field) or "0.00"), field
        assert found["dataset"] == records[0].data.name
        assert found["unreliable"] == any(each.unreliable for each in records)


def test_numbers_are_the_records(written: Written) -> None:
    methods, made = written
    for name, card in made.items():
        found, records = info(card), methods[name]
        natural = [each.results[0].accuracy for each in records]
        assert float(found["clean_acc"]) == pytest.approx(100 * sum(natural) / len(records), abs=0.005)
        worst = [each.headline.accuracy for each in records if each.headline]
        assert float(found["external"]) == pytest.approx(100 * sum(worst) / len(records), abs=0.005)
        for each in records:
            assert each.model.weights_sha256 in card.texts[".md"]
            assert each.digest in card.texts[".md"]
            for flag in each.sanity.flags:
                assert flag.status == "n/a" or flag.text in card.texts[".md"]


def test_autoattack_is_robustbenchs_or_none(written: Written) -> None:
    """Standard AutoAttack of a deterministic network; a randomised one has its adaptive worst case elsewhere."""
    methods, made = written
    for name, card in made.items():
        found, records = info(card), methods[name]
        standard = [result.accuracy for each in records for result in each.results
                    if result.parameters.get("version") == "standard"]
        if records[0].model.randomised or not standard:
            assert found["autoattack_acc"] is None
        else:
            assert float(found["autoattack_acc"]) == pytest.approx(100 * sum(standard) / len(records), abs=0.005)
        if records[0].model.randomised:
            assert "average over its random draws" in found["footnote"]


def test_the_recipe_makes_networks_and_an_evaluation_of_the_records_digests(written: Written) -> None:
    methods, made = written
    for name, card in made.items():
        records = methods[name]
        settled = [training_of(each) is not None for each in records]
        assert (".yaml" in card.texts) == all(settled)
        if not all(settled):
            continue
        assert f"rnabench reproduce {name}.yaml" in card.texts[".md"]
        again = load_recipe(card.stem.with_name(f"{name}.yaml"))
        digests = {again.models[each].digest() for each in again.trainings[name]}
        assert digests == {each.model.digest for each in records}
        assert again.evaluate == evaluation_of(records[0])
        assert again.deployments[name].changes() == (
            records[0].model.deployed.model_dump(exclude_defaults=True) if records[0].model.deployed else {})


def test_the_recipe_leaves_out_what_was_made_on_another_network_and_the_card_says_so(tmp_path: Path) -> None:
    own = next(each for _, each in records_in(RESULTS / "quickstart") if training_of(each) is not None)
    moved = own.results[-1].content()
    moved |= {"attack": "transfer-pgd2", "parameters": moved["parameters"] | {
        "kind": "transfer", "attack": "pgd2", "surrogate": "another"}}
    mixed = changed(own, evaluation={"attacks": ["pgd10", "transfer-pgd2"]},
                    results=[*(each.content() for each in own.results), moved])
    write_record(mixed, tmp_path / "record.json")
    (card,) = cards([tmp_path], tmp_path / "cards", NOBODY)
    write_card(card)
    assert load_recipe(card.stem.with_suffix(".yaml")).evaluate.attacks == ("pgd10",)
    assert "It leaves out transfer-pgd2, made on another: `rnabench attack --transfer-from RUN`" in card.texts[".md"]
    alone = changed(own, evaluation={"attacks": ["transfer-pgd2"]}, results=[moved])
    assert recipe(Method(alone.method, (alone,))) is None


def test_claims_stand_on_the_card_of_the_model_that_they_are_about(tmp_path: Path) -> None:
    made = {card.stem.name: card.texts[".md"] for card in cards([RESULTS / "table1-cpu"], tmp_path, NOBODY)}
    about = {name for name, text in made.items() if "RNA is more robust than every single normaliser" in text}
    assert about == {"RNA"}
    assert "less robust than its deterministic baseline BN" in made["RNA"]


def test_what_only_authors_know_is_what_they_say(tmp_path: Path) -> None:
    write_record(record("mine:factory"), tmp_path / "record.json")
    said = Authorship("A title", "A. Nother", "NeurIPS 2022", "https://example.org", True)
    (card,) = cards([tmp_path / "record.json"], None, said)
    assert card.stem == (tmp_path / "cards" / "mine-factory").resolve()
    found = info(card)
    assert [found[name] for name in ("name", "authors", "venue", "link", "additional_data")] == [
        "A title", "A. Nother", "NeurIPS 2022", "https://example.org", True]
    (unsaid,) = cards([tmp_path], None, NOBODY)
    assert info(unsaid)["additional_data"] is None, "nobody knows what a network from elsewhere was trained on"
    assert info(unsaid)["name"] == "mine:factory"
    assert ".yaml" not in unsaid.texts


def test_a_network_that_a_recipe_imports_is_named_by_where_it_is(tmp_path: Path) -> None:
    said = {"import": "mine:make", "args": {"width": 5, "kind": "a b"}, "weights": "mine.pt"}
    old = record("mine")
    kept = old.model.model_copy(update={"imported": said, "code": {"source_sha256": "0"}, "recipe": None})
    write_record(old.model_copy(update={"model": kept}), tmp_path / "record.json")
    (card,) = cards([tmp_path], None, NOBODY)
    assert ("`rnabench attack --model mine:make --model-args width=5 --model-args 'kind=\"a b\"' --model-weights "
            "mine.pt`") in card.texts[".md"]


def test_what_was_not_measured_is_no_number(tmp_path: Path) -> None:
    write_record(record(), tmp_path / "a.json")  # attacked under `paper` alone
    (card,) = cards([tmp_path], None, NOBODY)
    found = info(card)
    assert "external" not in found
    assert found["autoattack_acc"] is None
    assert "was not measured" in found["footnote"]
    (line,) = [line for line in card.texts[".md"].splitlines() if line.startswith("| adaptive worst case")]
    assert [cell.strip() for cell in line.split("|")[2:4]] == ["-", "-"]
    assert "averages over paths" in line


def test_a_failed_check_is_said(tmp_path: Path) -> None:
    write_record(judged(changed(record(), sanity={"diagnosis": {**CLEAN, "zero_gradients": 1.0}})), tmp_path / "a.json")
    (card,) = cards([tmp_path], None, NOBODY)
    assert info(card)["unreliable"] is True
    assert "A sanity check failed" in info(card)["footnote"]
    assert "50.0!" in card.texts[".md"]


def test_mistakes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_record(record(), tmp_path / name / "a.json")
    with pytest.raises(RnabenchError, match="several of these folders"):
        cards([tmp_path], tmp_path / "out", NOBODY)
    assert len(cards([tmp_path], None, NOBODY)) == 2
    with pytest.raises(RnabenchError, match="RECORD"):
        cards([tmp_path / "missing"], None, NOBODY)
    (tmp_path / "two" / "a.json").write_text("{")
    with pytest.raises(RnabenchError, match="cannot be read"):
        cards([tmp_path], None, NOBODY)
