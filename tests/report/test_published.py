"""A row of a paper's table is about one network, trained and used in one way."""

from __future__ import annotations

from typing import Any

import pytest

from rnabench.reference import Row, published
from rnabench.report.published import is_row, published_numbers
from rnabench.settings.deployment import Deployment
from rnabench.settings.recipe import Defined

SORS = Defined(dataset="cifar10", arch="rs-resnet18", space="gn32", objective="sors", teacher="ResNet-18")
BN = Defined(dataset="cifar10", arch="resnet20", space="bn", objective="standard")


def of_row(row: Row) -> Defined:
    """The network that a row describes."""
    return Defined(dataset=row["dataset"], arch=row["arch"], space=row["space"], objective=row["training"],
                   activation=row["activation"] or "relu", denoise=row["denoise"] or "none",
                   smooth_gradient=row["smooth_gradient"] or "none",
                   deploy=Deployment(statistics=row["statistics"] or "own", average=int(row["average"] or 1)),
                   operators=int(row["operators"]) if row["operators"] else None,
                   teacher="another" if row["teacher"] == "yes" else None)


@pytest.mark.parametrize("table", ["robustnorm-table2", "robustnorm-table4", "robustnorm-table6", "robustnorm-table8",
                                   "sors-table3", "sors-table10", "thesis-table5-1", "thesis-figure5-3",
                                   "thesis-table5-2", "thesis-table7-1", "thesis-table7-8"])
def test_a_row_is_about_the_network_that_it_describes_and_no_other(table: str) -> None:
    changes: list[dict[str, Any]] = [
        {"dataset": "digits"}, {"arch": "wrn32"}, {"space": "in"}, {"operators": 7},
        {"activation": "softplus"}, {"denoise": "median"},
        {"deploy": Deployment(average=3)}, {"deploy": Deployment(statistics="running+batch")}]
    for row in published(table):
        if row["space"]:
            model = of_row(row)
            assert is_row(row, model)
            objectives = [{"objective": "standard" if row["training"] != "standard" else "white-box"}]
            gradients = [{"smooth_gradient": "both" if row["smooth_gradient"] != "both" else "none"}]
            for change in [*changes, *objectives, *gradients]:
                assert not is_row(row, model.model_copy(update=change)), (row, change)


def test_how_a_network_is_used_tells_rows_apart() -> None:
    assert published_numbers("robustnorm-table2", BN)["pgd20@2/255"] == 7.67
    batch, averaged = {"deploy": Deployment(statistics="batch")}, {"deploy": Deployment(average=2)}
    assert published_numbers("robustnorm-table2", BN.model_copy(update=batch))["pgd20@2/255"] == 18.15
    assert published_numbers("sors-table3", SORS)["pgd7@4/255"] == 41.5
    assert published_numbers("sors-table3", SORS.model_copy(update=averaged))["pgd7@4/255"] == 22.6
    assert published_numbers("sors-table3", SORS)["natural"] == 91.3
    assert published_numbers("sors-table3+sors-table9", SORS)["pgd7@4/255 eot:5"] == 25.31


def test_a_super_network_without_orthogonality_is_rs_whoever_teaches_it() -> None:
    alone = SORS.model_copy(update={"objective": "standard", "teacher": None})
    taught = SORS.model_copy(update={"orthogonality": 0.0})
    assert published_numbers("sors-table3", alone) == published_numbers("sors-table3", taught)
    assert published_numbers("sors-table3", taught)["pgd7@1/255"] == 59.1


def test_where_a_row_says_whether_there_is_a_teacher_it_counts() -> None:
    single = Defined(dataset="cifar10", arch="resnet18", space="gn32", objective="standard")
    taught = single.model_copy(update={"teacher": "another"})
    assert published_numbers("sors-table10", single) == published_numbers("sors-table3", taught) == {}
    assert published_numbers("sors-table10", taught)["pgd7@1/255"] == 46.3
    assert published_numbers("sors-table3", single)["pgd7@1/255"] == 49.9


def test_a_branch_tells_rows_apart() -> None:
    (main,) = published("thesis-table7-8", arch="resnet50", space="mbn")
    auxiliary, model = {**main, "branch": "adv"}, of_row(main)
    through = model.model_copy(update={"deploy": Deployment(branch="adv")})
    assert [is_row(row, used) for row in (main, auxiliary) for used in (model, through)] == [True, False, False, True]
