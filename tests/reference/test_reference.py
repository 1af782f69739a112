"""Published numbers: all are there, name what this package knows, and fall as eps grows or a note says otherwise."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from rnabench.errors import InvalidValue
from rnabench.reference import number, paper_of, published, tables
from rnabench.settings.architectures import ARCHITECTURES
from rnabench.settings.attacks import parse_attack
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.spaces import parse_space
from rnabench.settings.training import OBJECTIVES

COUNTS = {  # rows times columns, as printed
    "robustnorm-table1": 2, "robustnorm-table2": 6 * 2 * 13, "robustnorm-table3": 4 * 6, "robustnorm-table4": 4 * 5,
    "robustnorm-table5": 2 * 10, "robustnorm-table6": 2 * 2 * 17, "robustnorm-table7": 3 * 6,
    "robustnorm-table8": 4 * 3 * 5, "sors-table1": 2 * 5, "sors-table2": 7 * 14, "sors-table3": 8 * 14,
    "sors-table4": 8 * 14, "sors-table5": 5 * 12, "sors-table6": 4 * 12, "sors-table7": 8 * 12,
    "sors-table8": 3 * 13, "sors-table9": 4 * 4, "sors-table10": 3 * 4, "sors-figure6": 2,
    # tables of the thesis; behind a plus, and of sections and figures, what the text states
    "thesis-table2-1": 8 * 3 + 12, "thesis-table2-2": 9 * 6, "thesis-table2-3": 9 * 6, "thesis-table2-4": 10 * 5,
    "thesis-table3-1": 4 * 5 * 7, "thesis-table3-2": 4 * 2 * 7, "thesis-table3-3": 2 * 4 * 7, "thesis-table3-4": 5 * 7,
    "thesis-figure4-6": 18, "thesis-table4-1": 3 * 2, "thesis-table4-2": 7 + 4, "thesis-table4-3": 9 + 1,
    "thesis-table5-1": 4 * 2, "thesis-section5-3": 15, "thesis-figure5-3": 6 * 2, "thesis-table5-2": 4,
    "thesis-table5-3": 8 * 2 + 5, "thesis-figure5-4": 9, "thesis-table5-4": 2 * 2, "thesis-table6-1": 6,
    "thesis-table6-2": 6, "thesis-section6-4": 11, "thesis-figure6-7": 4, "thesis-figure7-2": 6,
    "thesis-table7-1": 17 * 3, "thesis-table7-2": 4 * 8, "thesis-table7-3": 2 * 8, "thesis-table7-4": 4 * 3,
    "thesis-table7-5": 2 * 8, "thesis-figure7-5": 8 + 5, "thesis-table7-6": 4 * 8, "thesis-table7-7": 4 * 3,
    "thesis-table7-8": 3 * 4}
NO_ACCURACY = ("gain ", "orthogonality", "attack success", "parameters", "mean ", "perceptibility", "steps of dag",
               "loss in training")
WITHOUT_ATTACK = ("natural", *NO_ACCURACY[1:])
NOT_OURS = ("targeted pgd", "all or nothing", "pgd1 at 4/255", "pgd200 at 4/255")  # attacks by no name of this package
RELATED = [table for table in tables() if "-" in table]


def test_every_number_is_there_once() -> None:
    assert set(COUNTS) == set(RELATED)
    for table, count in COUNTS.items():
        rows = published(table)
        assert len(rows) == count, table
        assert all(number(row) is not None or row["note"] for row in rows)
        assert max(Counter((row["method"], row["arch"], row["dataset"], row["column"]) for row in rows).values()) == 1


@pytest.mark.parametrize(("table", "column", "of", "value"), [
    ("robustnorm-table1", "bim20", {"statistics": "batch"}, 69),
    ("robustnorm-table2", "pgd20@2/255", {"arch": "resnet38", "statistics": ""}, 9.73),
    ("robustnorm-table2", "pgd20@2/255", {"arch": "wrn16", "statistics": "batch"}, 31.57),
    ("robustnorm-table2", "apgd-ce@8/255", {"arch": "vgg16", "statistics": "batch"}, 2.35),
    ("robustnorm-table3", "mifgsm20@1/255", {"space": "ln"}, 33.4),
    ("robustnorm-table4", "gain cw", {"dataset": "cifar100", "training": "white-box"}, 150),
    ("robustnorm-table5", "natural", {"dataset": "cars", "method": "updated statistics and affine"}, 66.46),
    ("robustnorm-table6", "square5000@8/255", {"arch": "vgg16", "space": "robust"}, 53.33),
    ("robustnorm-table7", "bim20@1/255", {"statistics": "running-mean"}, 17.7),
    ("robustnorm-table8", "cw", {"arch": "resnet50-cifar", "statistics": "running-mean"}, 35.76),
    ("sors-table1", "attack success", {"method": "GoogLeNet"}, 47),
    ("sors-table2", "pgd7@75/255", {"method": "SORS"}, 38.2), ("sors-table2", "cw10000", {"method": "RS*"}, 90.9),
    ("sors-table3", "mifgsm10@8/255", {"method": "SORS*"}, 8.3), ("sors-table4", "natural", {"method": "RS"}, 69.17),
    ("sors-table5", "pgd7@8/255 from resnet101", {"method": "SORS"}, 62.9),
    ("sors-table6", "fgsm@100/255", {"operators": "3"}, 53.1),
    ("sors-table7", "fgsm@4/255", {"method": "JPEG + SORS"}, 76.9),
    ("sors-table8", "parameters", {"method": "SORS"}, 0.177), ("sors-table9", "pgd7@4/255 eot:3", {}, 30.0),
    ("sors-table10", "pgd7@2/255", {"teacher": "yes"}, 14.3),
    ("sors-figure6", "orthogonality", {"method": "RS"}, 0.771),
    ("thesis-table2-2", "mean AP of FR-VGG-07", {"method": "r2 + r4"}, 28.92),
    ("thesis-table2-3", "mean IoU of DL-VGG", {"method": "r7 (FCN-VGG)"}, 45.16),
    ("thesis-table2-4", "mean AP of R-FCN-RN101", {"method": "r1 + r3 + r5 + r7"}, 64.52),
    ("thesis-table3-1", "attack success on Inc-v4", {"method": "M-DI2-FGSM on IncRes-v2"}, 67.4),
    ("thesis-table3-2", "attack success on Inc-v3ens3", {"method": "D-C&W on Res-152"}, 13.1),
    ("thesis-table4-1", "targeted pgd100 at 16/255", {"denoise": "gaussian-no-1x1"}, 36.8),
    ("thesis-table4-2", "all or nothing at 32/255", {"denoise": "dot"}, 46.2),
    ("thesis-table5-1", "pgd200@4/255", {"smooth_gradient": "update"}, 35.8),
    ("thesis-figure5-3", "natural", {"activation": "smoothrelu"}, 69.4),
    ("thesis-table7-1", "mean corruption error", {"arch": "resnet50"}, 74.8),
    ("thesis-table7-8", "natural", {"arch": "resnet50", "training": "mix"}, 73.5)])
def test_cells_by_hand(table: str, column: str, of: dict[str, str], value: float) -> None:
    (row,) = published(table, column=column, **of)
    assert number(row) == value


@pytest.mark.parametrize("table", RELATED)
def test_every_name_is_one_of_this_package(table: str) -> None:
    for row in published(table):
        if row["space"]:
            parse_space(row["space"])
            assert row["arch"] in ARCHITECTURES
            assert row["training"] in OBJECTIVES
            assert row["smooth_gradient"] in ("", "none", "attack", "update", "both")
        assert row["teacher"] in ("", "yes", "no")
        if row["column"].startswith((*WITHOUT_ATTACK, *NOT_OURS)):
            continue
        attack, _, behind = row["column"].removeprefix("gain ").partition(" ")
        parse_attack(attack)
        if behind and not behind.startswith("from "):
            parse_protocol(behind)


@pytest.mark.parametrize("table", RELATED)
def test_a_number_is_an_accuracy_or_says_what_else_it_is(table: str) -> None:
    for row in published(table):
        if number(row) is None:
            continue
        is_accuracy = not row["column"].startswith(NO_ACCURACY) and not row["column"].endswith(", difference")
        assert bool(row["accuracy_percent"]) == is_accuracy
        assert bool(row["number"]) != is_accuracy
        if is_accuracy:
            assert 0 <= float(row["accuracy_percent"]) <= 100


@pytest.mark.parametrize("table", RELATED)
def test_accuracy_falls_as_eps_grows_or_a_note_says_that_it_does_not(table: str) -> None:
    """But for APGD against statistics of batches, whose numbers rise again from 4/255 to 8/255."""
    swept: dict[tuple[str, ...], list[tuple[float, float, str]]] = {}
    for row in published(table):
        attack, _, behind = row["column"].partition(" ")
        with suppress(InvalidValue):
            if (spec := parse_attack(attack)).eps is not None and spec.kind != "apgd":
                own = row["method"], row["arch"], attack.partition("@")[0], behind
                swept.setdefault(own, []).append((spec.eps, float(row["accuracy_percent"] or 0), row["note"]))
    for own, points in swept.items():
        for (_, weaker, first), (_, stronger, second) in zip(sorted(points), sorted(points)[1:], strict=False):
            assert weaker >= stronger or "(?)" in first + second, (own, weaker, stronger)


def test_several_tables_of_one_paper() -> None:
    both = "sors-table3+sors-table9"
    assert published(both) == published("sors-table3") + published("sors-table9")
    assert published("sors-table33") == []
    assert paper_of(both) is paper_of("sors-table1")
    assert len({paper_of(table).file for table in tables()}) == 4
    assert {tuple(row) for table in tables() for row in published(table)} == {tuple(published("table1")[0])}
