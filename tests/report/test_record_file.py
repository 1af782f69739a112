"""Records and studies come back from their files as they were, also from older ones; damage is told in one line."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import RnabenchError
from rnabench.report.record import Result
from rnabench.report.record_file import SCHEMAS, read_record, read_study, schema, write_record, write_study_record
from rnabench.report.stored import Packed, PackedBits, pack, unpack
from rnabench.scoring.outcome import Outcome, from_bits
from tests.report.records import handmade

ROOT = Path(__file__).parents[2]
OLDER = Path(__file__).parent / "older" / "record-3.json"
STUDY = ROOT / "results" / "figure1-smoke" / "figure1d.json"
Content = dict[str, Any]

numbers = st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none()
lists = st.lists(st.floats(allow_nan=False), max_size=60) | st.lists(st.integers(), max_size=60) | st.lists(numbers)
texts = st.text("01", max_size=300) | st.lists(st.text("01", min_size=70, max_size=70), max_size=4) | st.text()
matrices = st.integers(0, 9).flatmap(lambda width: st.lists(
    st.lists(st.floats(allow_nan=False), min_size=width, max_size=width), max_size=20))
values = st.recursive(numbers | lists | texts | matrices, lambda inner: st.dictionaries(st.text(max_size=5), inner))


@given(values)
def test_what_is_packed_comes_back_to_the_last_bit_and_type(value: Any) -> None:
    packed = json.dumps(pack(value))
    assert json.dumps(unpack(json.loads(packed))) == json.dumps(value)
    assert len(packed) <= len(json.dumps(value))


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 0), (5, 20), (2, 3, 4)])
@pytest.mark.parametrize("kind", [bool, np.int64, np.float64])
def test_an_array_of_any_shape(shape: tuple[int, ...], kind: type) -> None:
    values = (np.random.default_rng(0).normal(size=shape) * 3).astype(kind)
    back = Packed.of(values).array()
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def test_bits_lie_as_the_schema_says() -> None:
    packed = Packed.of(np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1]], dtype=bool))
    assert zlib.decompress(base64.b64decode(packed.data)) == bytes([0b10000001, 0b10000000])


def compressed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize("data", ["", "?", "AAAA", compressed(b""), compressed(b"\0"), compressed(bytes(3)),
                                  compressed(bytes(2))[:-8], compressed(bytes(1 << 20))])
def test_damaged_arrays_are_refused(data: str) -> None:
    with pytest.raises(ValueError, match="expected 9 packed values"):
        PackedBits.model_validate({"packed": "bits", "shape": [9], "data": data})


def test_a_record_of_500_images_20_draws_and_20_cells_takes_tens_of_kilobytes(tmp_path: Path) -> None:
    """Even if nothing can be compressed."""
    rng = np.random.default_rng(0)
    cells = [Result.of(Outcome(f"pgd{k}", "paper", correct, correct[:, 0], correct[:, 1], None), "sample", {})
             for k in range(20) for correct in [rng.random((500, 20)) < 0.5]]
    write_record(made := handmade("bn+in", cells, images=500), tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_size < 60_000
    assert read_record(tmp_path / "a.json") == made


def test_a_record_of_format_3_says_what_it_said(tmp_path: Path) -> None:
    old, record = json.loads(OLDER.read_text()), read_record(OLDER)
    now = record.content()
    for before, after, typed in zip([*old["results"], *old["sanity"]["probes"]],
                                    [*now["results"], *now["sanity"]["probes"]], record.cells, strict=True):
        strings, kept = before.pop("outcomes"), after.pop("outcomes")
        outcome = record.outcome(typed)
        for draw, text in zip(outcome.correct.T, strings["correct"], strict=True):
            np.testing.assert_array_equal(draw, from_bits(text))
        np.testing.assert_array_equal(outcome.majority, from_bits(strings["majority"]))
        np.testing.assert_array_equal(outcome.reported, from_bits(strings["reported"]))
        assert kept.get("distances") == strings.get("distances")
        assert typed.accuracy == outcome.accuracy
    assert now | {"format": 3} == old
    write_record(record, tmp_path / "new.json")
    assert read_record(tmp_path / "new.json") == record


def test_records_of_format_2_had_batches_and_no_versions(tmp_path: Path) -> None:
    old = json.loads(OLDER.read_text()) | {"format": 2}
    for name in ("settings_digest", "algorithms", "made", "made_by"):
        del old[name]
    del old["evaluation"]["attack_paths"]
    for each in [*old["results"], *old["sanity"]["probes"]]:
        each["draws_are"] = "batch"
        del each["algorithms"], each["made_by"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    record = read_record(tmp_path / "old.json")
    assert (record.algorithms, record.settings_digest, record.made, record.made_by) == (None, None, None, [])
    groups = record.outcome(record.results[0]).groups
    np.testing.assert_array_equal(groups, np.arange(record.results[0].images) // record.evaluation.batch_size)


@pytest.mark.parametrize("older", [1, 2])
def test_a_study_of_an_older_format_says_what_it_said(older: int, tmp_path: Path) -> None:
    study = read_study(STUDY)
    (tmp_path / "old.json").write_text(json.dumps(study | {"format": older}))
    assert json.dumps(read_study(tmp_path / "old.json")) == json.dumps(study)
    write_study_record(study, tmp_path / "new.json")
    assert json.dumps(read_study(tmp_path / "new.json")) == json.dumps(study)


def without(name: str) -> Callable[[Content], object]:
    return lambda content: content.pop(name)


DAMAGE: dict[str, Callable[[Content], object]] = {
    "another format": lambda content: content.update(format=99),
    "no model": without("model"), "no data": without("data"), "no threat": without("threat"),
    "no sanity": without("sanity"), "a part too many": lambda content: content.update(extra=1),
    "a text for a number": lambda content: content["threat"].update(eps="0.03"),
    "a share above 1": lambda content: content["results"][0].update(accuracy=1.5),
    "not a number": lambda content: content["results"][0].update(accuracy=float("nan")),
    "one end of an interval": lambda content: content["results"][0].update(interval95=[0.1]),
    "more draws than outcomes": lambda content: content["results"][0].update(draws=99),
    "fewer images": lambda content: content["data"].update(indices=[1]),
    "no path groups": lambda content: content["evaluation"].pop("attack_paths"),
    "outcomes cut": lambda content: content["results"][0]["outcomes"].update(majority="01"),
    "no outcomes": lambda content: content["results"][0].pop("outcomes"),
    "no results": lambda content: content.update(results=[]),
    **{f"a {name} that its outcomes deny": lambda content, name=name: content["results"][0].update({name: 0.123})
       for name in ("accuracy", "worst_of_draws", "majority", "attack_reported")},
    "another status": lambda content: content["sanity"]["flags"][0].update(status="GOOD"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("older", [False, True])
def test_damage_is_told_in_one_line(damage: str, older: bool, tmp_path: Path) -> None:
    content, file = json.loads(OLDER.read_text()), tmp_path / "x.json"
    if not older:
        write_record(read_record(OLDER), file)
        content = json.loads(file.read_text())
    DAMAGE[damage](content)
    file.write_text(json.dumps(content))
    with pytest.raises(RnabenchError, match="expected") as caught:
        read_record(file)
    assert repr(str(file)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [without("models"), without("results"), without("keys"), lambda content: content[
    "results"].update(x={"packed": "int64", "shape": [3], "data": "AAAA"})])
def test_damaged_studies_too(damage: Callable[[Content], object], tmp_path: Path) -> None:
    content = json.loads(STUDY.read_text())
    damage(content)
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(RnabenchError, match="is damaged") as caught:
        read_study(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_those_of_the_models(name: str) -> None:
    """If not: python -m rnabench.report.record_file docs"""
    assert (ROOT / "docs" / name).read_text() == schema(name)
    jsonschema.Draft202012Validator.check_schema(json.loads(schema(name)))


def test_every_committed_record_fits_its_schema() -> None:
    """If not: python docs/rewrite_records.py results"""
    checks = {name: jsonschema.Draft202012Validator(json.loads(schema(name))) for name in SCHEMAS}
    seen = dict.fromkeys(SCHEMAS, 0)
    for file in sorted((ROOT / "results").glob("*/*.json")):
        content = json.loads(file.read_text())
        if "format" in content:
            name = "study.schema.json" if "study" in content else "record.schema.json"
            problem = next(checks[name].iter_errors(content), None)
            assert problem is None, f"{file}: {problem.message if problem else ''}"
            seen[name] += 1
    assert all(seen.values())
    assert not checks["record.schema.json"].is_valid(json.loads(OLDER.read_text()))


def test_a_record_may_name_a_folder_that_is_no_utf_8(tmp_path: Path) -> None:
    """As a program sees it that runs under another locale, for instance; the rest of the name is kept."""
    record = read_record(next((ROOT / "results" / "quickstart").glob("*.json")))
    odd = record.model_copy(update={"model": record.model.model_copy(update={"label": os.fsdecode(b"r\xfcn")})})
    write_record(odd, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json").model.label == "r\\udcfcn"
