"""Recipes: every shipped one is valid, and a bad one tells all its errors at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnabench.errors import InvalidSettings, InvalidValue, RnabenchError
from rnabench.jobs.train import run_name
from rnabench.reference import published
from rnabench.report.comparison import is_row, published_numbers
from rnabench.settings.pixels import pixel_units
from rnabench.settings.recipe_loading import load_recipe
from rnabench.settings.recipe_source import profiles
from rnabench.settings.spaces import parse_space
from rnabench.settings.training import TrainingSettings
from tests import helpers

FOLDER, RECIPES = helpers.RECIPES, helpers.recipe_files()
RUNS: list[tuple[Path, str | None]] = [(file, profile) for file in RECIPES for profile in (profiles(file) or [None])]
TABLES = [file for file in RECIPES if file.stem.startswith("table")]


@pytest.mark.parametrize(("file", "profile"), RUNS, ids=lambda value: getattr(value, "stem", value))
def test_shipped_recipes_are_valid_and_headed_by_their_command(file: Path, profile: str | None) -> None:
    recipe = load_recipe(file, profile)
    assert recipe.name == file.stem
    assert recipe.models
    assert recipe.table or recipe.figures
    command, *rest = file.read_text().splitlines()[0].split(" --profile ")
    assert command == f"# rnabench reproduce recipes/{file.name}"
    assert (rest[0] if rest else None) in (profiles(file) or [None])


def test_there_are_recipes_for_every_table_and_figure() -> None:
    assert {"table1", "table2", "table3", "table4", "table5", "figure1", "figure2", "figure3", "figure5"} <= {
        file.stem for file in RECIPES if profiles(file) == ["paper", "short", "cpu", "smoke"]}


def test_every_row_of_the_papers_tables_is_one_model_of_its_recipe() -> None:
    """Except other authors' defences; and every model but a baseline is a row."""
    for table in (f"table{k}" for k in range(1, 6)):
        models = {}
        for file in TABLES:
            recipe = load_recipe(file, "paper")
            if recipe.published == table:
                models |= {name: recipe.defined[name] for name in recipe.table}
        for row in published(table):
            if row["space"]:
                names = [name for name, model in models.items() if is_row(row, model)]
                assert len(names) == 1, (row, names)
        unknown = [name for name, model in models.items() if not published_numbers(table, model)]
        assert unknown == {"table3": ["BN-wrn"], "table5": ["BN"]}.get(table, []), table


def test_the_small_recipe_on_real_images_trains_no_network_that_table_1_does_not() -> None:
    images = {"dataset": "folder", "data_dir": "data/cifar10-jpeg", "dataset_name": "cifar10-jpeg"}
    small, table = (load_recipe(FOLDER / f"{name}.yaml", profile, data) for name, profile, data in (
        ("cifar10-jpeg-small", None, None), ("table1", "cpu", images)))
    assert {run_name(network) for network in small.models.values()} <= {
        run_name(network) for network in table.models.values()}


def test_profiles_change_the_scale_and_not_what_is_compared() -> None:
    for file in TABLES:
        full = load_recipe(file, "paper")
        for profile in ("short", "cpu", "smoke"):
            smaller = load_recipe(file, profile)
            assert smaller.defined == {name: full.defined[name] for name in smaller.trainings}
            for name, training in smaller.models.items():
                defined = full.models[smaller.model_of(name)]
                assert (training.objective, training.layer_based) == (defined.objective, defined.layer_based)
                assert len(parse_space(training.space).norms) == len(parse_space(defined.space).norms)


def test_only_the_profile_paper_trains_as_the_released_code_does_but_for_its_faults() -> None:
    switches = ("track_attack_stats", "unused_options", "milestones", "drop_last", "n_holdout", "input_statistics",
                "bgn_momentum", "bgn_variance")
    defaults = tuple(TrainingSettings.model_fields[name].default for name in switches)
    for file in RECIPES:
        for profile in set(profiles(file)) - {"paper"}:
            for training in load_recipe(file, profile).models.values():
                values = tuple(getattr(training, name) for name in switches)
                assert [name for name, value, default in zip(switches, values, defaults, strict=True)
                        if value != default and name != "n_holdout"] == []  # of small data sets less is held out
                assert training.n_holdout != 0
                assert "in-plain" not in training.space
    for table, statistics in (("table1", None), ("table2", "cifar10")):
        models = load_recipe(FOLDER / f"{table}.yaml", "paper").models
        for training in models.values():
            assert tuple(getattr(training, name) for name in switches) == (
                True, "decay", (99, 149), False, 0, statistics, 0.1, "biased")
            assert (training.select, training.epochs, training.schedule) == ("last", 200, "step")
        for suffix in ("", "-wrn"):
            assert (models[f"IN{suffix}"].space, models[f"RNA{suffix}"].space) == ("in-plain", "bn+in")


def test_a_quarter_of_the_width_has_groups_of_the_same_size() -> None:
    full, small = (load_recipe(FOLDER / "table4.yaml", profile) for profile in ("paper", "cpu"))
    for name, training in small.models.items():
        defined = full.models[name]
        for one, other in zip(parse_space(training.space).norms, parse_space(defined.space).norms, strict=True):
            if one.label != "ln":
                assert [c // one.groups(c) for c in (16, 32, 64, 128)] == [
                    c // other.groups(c) for c in (64, 128, 256, 512)], name


def test_recipes_share_their_networks() -> None:
    """What is the same network has the same run folder, whichever recipe names it."""
    runs = {file.stem: {run_name(training): name for name, training in load_recipe(file, "cpu").models.items()}
            for file in RECIPES if profiles(file)}
    assert len(runs["table1"]) == 4 + 2 * 3  # BN and RNA are trained three times
    assert len(runs["table1"] | runs["table4"]) == 13
    assert len(runs["table1"] | runs["table5"]) == 17  # bn and bn+in are shared
    assert set(runs["figure2"]) <= set(runs["table1"])
    assert set(runs["figure5"]) <= set(runs["table1"] | runs["table4"])


def test_a_base_a_profile_and_other_data(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "train: {dataset: cifar10, data_dir: data, width: 8, lr: 0.3}\n"
        "models: {one: {space: bn}, two: {space: gn32+ln, lr: 0.1}}\n"
        "evaluate: {attacks: [fgsm], protocols: [paper], n_examples: 9}\n"
        "profiles:\n  big: {}\n  tiny: {summary: small, train: {width: 2}, norms: {gn32: gn2},\n"
        "    models: {two: {epochs: 7}}, evaluate: {n_examples: 3}, studies: {n_examples: 5}}\n")
    file = tmp_path / "own.yaml"
    file.write_text("base: base.yaml\nname: own\ntitle: Own\ntable: [two]\nevaluate: {draws: 4}\n"
                    "figures: {f: {study: gradient-similarity, models: [one, two], batch_size: 3}}\n"
                    "profiles: {tiny: {evaluate: {seed: 2}}}\n")
    assert profiles(file) == ["big", "tiny"]
    tiny, big = load_recipe(file, "tiny"), load_recipe(file, "big")
    assert (tiny.folder, tiny.summary, tiny.table) == ("own-tiny", "small", ("two",))
    two = tiny.models["two"]
    assert (two.space, two.width, two.lr, two.epochs) == ("gn2+ln", 2, 0.1, 7)
    assert (tiny.evaluate.n_examples, tiny.evaluate.draws, tiny.evaluate.seed) == (3, 4, 2)
    assert (tiny.figures["f"].study.n_examples, tiny.figures["f"].study.batch_size) == (5, 3)
    assert (big.models["two"].space, big.evaluate.n_examples, big.figures["f"].study.n_examples) == (
        "gn32+ln", 9, None)
    assert tiny.defined["two"].space == "gn32+ln"
    text = file.read_text()
    file.write_text(text.replace("{tiny: {", "{tiny: {figures: {f: null}, "))
    without = load_recipe(file, "tiny")
    assert (without.figures, without.table, set(without.models)) == ({}, ("two",), {"two"})
    assert load_recipe(file, "big") == big
    file.write_text(text)
    other = load_recipe(file, "tiny", {"dataset": "digits"})
    assert {(model.dataset, model.data_dir) for model in other.models.values()} == {("digits", None)}
    moved = load_recipe(file, "tiny", {"data_dir": "there"})
    assert {(model.dataset, str(model.data_dir)) for model in moved.models.values()} == {("cifar10", "there")}
    for profile, hint in ((None, "big, tiny"), ("tny", "did you mean 'tiny'")):
        with pytest.raises(InvalidValue, match=hint):
            load_recipe(file, profile)
    file.write_text("base: base.yaml\nname: own\ntitle: Own\nprofiles: {tiny: {trian: {}}}\n")
    with pytest.raises(InvalidSettings, match=r"profiles\.tiny\.trian: .*'train'"):
        load_recipe(file, "tiny")


BAD = """\
name: bad
title: all kinds of errors
trian: {}
train: {arch: resnet19, epocs: 3, eps: 8, steps: many}
models:
  one: {space: bn+bn}
  two: {space: gn7, lr: -1}
  three: {dataset: folder}
evaluate: {suite: quik, draws: 0, protocols: [paper, eot:x]}
"""


def test_all_errors_at_once_each_with_file_key_and_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    with pytest.raises(InvalidSettings) as caught:
        load_recipe(file)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: ") and "expected" in line for line in lines)
    for key, hint in {"trian": "'train'", "train.arch": "'resnet18'", "train.epocs": "'epochs'", "train.eps": "'8/255'",
                      "train.steps": "'many'", "models.one.space": "'bn' stands twice", "models.two.lr": "-1",
                      "evaluate.suite": "'quick'", "evaluate.draws": "0", "evaluate.protocols": "eot"}.items():
        assert sum(line.startswith(f"{file}: {key}: ") and hint in line for line in lines) == 1, key
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "name: x\n", "1: 2", "models: 3", "name: x\ntitle: y\nmodels: {}"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(RnabenchError, match=r"x\.yaml"):
        load_recipe(file)
    with pytest.raises(RnabenchError, match="cannot read"):
        load_recipe(tmp_path / "none.yaml")


MISTAKES = [  # what is added to a good recipe, and what the error names
    ("claims: [{says: s, higher: one, lower: 5}]", "claims"),
    ("claims: [{says: s, higher: one, lower: [tow]}]", "'two'"),
    ("claims: [{says: s, higher: one, lower: [two], attack: pgd21}]", "'pgd20'"),
    ("claims: [{says: s, higher: one, lower: [two], attack: naturl}]", "'natural'"),
    ("claims: [{says: s, higher: one, lower: []}]", "a list that is not empty"),
    ("claims: x", "claims"), ("baseline: 2020-13-45", "YAML"), ("table: [one, one]", "different models"),
    ("profiles: [a]", "profiles"), ("profiles: {a: {models: {onne: {lr: 1}}}}", "'one'"),
    ("profiles: {a: {}, b: {train: {epohcs: 3}}}", r"profiles\.b\.train: 'epohcs' .*'epochs'"),
    ("profiles: {a: {}, b: {evaluate: {n_exmaples: 3}}}", r"profiles\.b\.evaluate: .*'n_examples'"),
    ("profiles: {a: {}, b: {models: {one: {objetcive: standard}}}}", r"profiles\.b\.models\.one: .*'objective'"),
    ("profiles: {a: {}, b: {norms: {im: bn}}}", r"profiles\.b\.norms: 'im' .*'in'"),
    ("profiles: {a: {}, b: {norms: {in: gm4}}}", r"profiles\.b\.norms\.in: .*'gm4'"),
    ("profiles: {a: {}, b: {table: [tow]}}", r"profiles\.b\.table: 'tow' .*'two'"),
    ("title: Again", "'title' stands twice"),
    ("profiles: {a: {norms: [1]}}", "norms"), ("profiles: {a: 3}", "profiles.a"), ("base: 5", "base"),
    ("base: none.yaml", "none.yaml"), ("train: {1: 2}", "train"),
    ("evaluate: {attacks: [pgd20], n_examples_of: {pgd20 / tpyo: 3}}", "n_examples_of"),
    ("figures: {paper: {study: gradient-similarity}}", "paper"),
    ("published: sors-tabel3", r"published: 'sors-tabel3' .*did you mean 'sors-table3'"),
    ("published: table1+table6", "published: 'table6'"),
    ("published: table1+sors-table2", "published: .*tables of one paper"), ("published: 3", "published"),
]


@pytest.mark.parametrize(("text", "named"), MISTAKES)
def test_a_mistake_is_named_and_no_traceback(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\ntitle: X\nmodels: {one: {space: bn}, two: {space: in}}\n"
                    "evaluate: {attacks: [pgd20, fgsm]}\n" if not text.startswith("evaluate") else
                    "name: x\ntitle: X\nmodels: {one: {space: bn}, two: {space: in}}\n")
    load_recipe(file)
    with file.open("a") as opened:
        opened.write(text + "\n")
    with pytest.raises(RnabenchError, match=named):
        load_recipe(file, "a" if "profiles" in text else None)


def test_what_an_option_says_is_named_by_the_option(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: x\ntitle: X\nmodels: {one: {space: bn}}\n")
    with pytest.raises(InvalidSettings, match=r"^--data-dir: 'there' .*digits"):
        load_recipe(file, data={"data_dir": "there"})


def test_pixel_units() -> None:
    assert pixel_units("8/255") == 8 / 255
    assert pixel_units("0.1") == pixel_units(0.1) == 0.1
    for bad in ("8", "-1/255", "x", "1/0", None, "1/2/3", "nan"):
        with pytest.raises(ValueError, match="8/255"):
            pixel_units(bad)
