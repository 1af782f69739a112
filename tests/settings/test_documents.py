"""What JSON and YAML files hold is read as any reader reads it, or refused at once, in a few words."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.settings.documents import DEEPEST, Unreadable, parse_yaml, read_json, read_yaml
from rnabench.settings.imported import Imported
from rnabench.settings.recipe_loading import load_recipe
from tests.helpers import RECIPES

RESULTS = RECIPES.parent / "results"


def aliases(levels: int, width: int = 9) -> str:
    """A kilobyte that stands for width^levels values."""
    lines = ["a0: &a0 [" + ", ".join("x" * width) + "]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * width) + "]")
    return "\n".join(lines)


def merges(levels: int, width: int = 9) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} {{<<: [" + ", ".join([f"*a{level - 1}"] * width) + "]}")
    return "\n".join(lines)


REFUSED = {
    "aliases": (aliases(9), "more than"), "merges": (merges(9), "more than"),
    "an alias in itself": ("a: &a [*a]", "alias stands in"), "a merge of itself": ("a: &a {<<: *a}", "alias stands in"),
    "deep": ("[" * 10_000, "nested"), "deep, closed": ("[" * 1_000 + "]" * 1_000, "nested"),
    "deep keys": ("".join(" " * level + f"a{level}:\n" for level in range(300)), "nested"),
    "deep by aliases": ("\n".join(["a0: &a0 [1]", *(f"a{k}: &a{k} [*a{k - 1}]" for k in range(1, 100))]), "nested"),
    "a number of many digits": ("a: " + "9" * 5_000, "digits"),
    "a number in another base": ("a: 0x" + "f" * 400, "integer is too large"),
    "a number in base 60": ("a: 1" + ":59" * 3_000, "integer is too large"),
    "no bool": ("a: !!bool x", "not YAML"), "no float": ("a: !!float ''", "not YAML"),
    "no time": ("a: !!timestamp x", "not YAML"), "an object": ("a: !!python/object/apply:os.system [true]", "not YAML"),
    "a key of many": ("? [a, b]\n: 1", "not YAML"), "half a character": (r'a: "\ud800"', "half of a character"),
    "a long text": ("a: " + "x" * 20_000, "characters"), "large": ("# " + "x" * 300_000, "larger than"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_yaml_that_would_take_long_is_refused_at_once(case: str, tmp_path: Path) -> None:
    """Wherever it stands: in a recipe, its base, an argument of a factory."""
    text, said = REFUSED[case]
    (tmp_path / "x.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(Unreadable, match=said) as caught:
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(InvalidSettings, match=r"x\.yaml"):
        load_recipe(tmp_path / "x.yaml")
    (tmp_path / "y.yaml").write_text("base: x.yaml\nname: y")
    with pytest.raises(InvalidSettings, match=r"x\.yaml"):
        load_recipe(tmp_path / "y.yaml")
    assert time.process_time() - started < 3
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if case != "large":
        with pytest.raises(InvalidValue, match="--model-args"):
            Imported.of("package:factory", [f"x={text}"])


def test_the_recipes_are_read_as_any_reader_reads_them() -> None:
    files = sorted(RECIPES.glob("*.yaml"))
    assert any("&" in file.read_text() for file in files)  # aliases among them
    for file in files:
        assert read_yaml(file) == yaml.safe_load(file.read_text())


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1])
def test_both_formats_end_at_the_same_depth(depth: int, tmp_path: Path) -> None:
    text = "[" * depth + "]" * depth
    (tmp_path / "x.json").write_text(text)
    if depth <= DEEPEST:
        assert read_json(tmp_path / "x.json") == parse_yaml(text) == json.loads(text)
        return
    for read in (lambda: parse_yaml(text), lambda: read_json(tmp_path / "x.json")):
        with pytest.raises(Unreadable, match="nested"):
            read()


@pytest.mark.parametrize(("text", "said"), [
    ("[" * 100_000, "nested"), ('{"a":' * 500 + "1" + "}" * 500, "nested"), ("{", "not JSON"), ("", "not JSON"),
    ('{"a": NaN}', "not finite"), ('{"a": -Infinity}', "not finite"), ('{"a": 1e999}', "not finite"),
    ("[" + "9" * 5_000 + "]", "digits"), (f"[{10 ** 30}]", "too large"), (r'["\udc00"]', "half of a character"),
    ("[" + "[]," * 2_000_000 + "0]", "more than"), (b"\xff\xfe", "not text"),
])
def test_json_that_nothing_can_be_made_of(text: str | bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Unreadable, match=said) as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "absent", Path("x" * 300), Path("a\0b")):
        with pytest.raises(Unreadable):
            read_json(place)


def test_every_committed_file_of_results_is_read_as_any_reader_reads_it() -> None:
    for file in sorted(RESULTS.glob("*/*.json")):
        assert read_json(file) == json.loads(file.read_text())
