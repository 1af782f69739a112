"""Numbers that the thesis prints twice, or states as sums and means of others."""

from __future__ import annotations

import pytest

from rnabench.reference import number, published


def cell(table: str, method: str, column: str) -> float | None:
    (row,) = published(f"thesis-{table}", method=method, column=column)
    return number(row)


def cells(table: str, column: str = "natural") -> dict[str, float | None]:
    return {row["method"]: number(row) for row in published(f"thesis-{table}", column=column)}


@pytest.mark.parametrize(("table", "networks"), [
    ("table2-2", ["FR-ZF-07", "FR-ZF-0712", "FR-VGG-07", "FR-VGG-0712"]),
    ("table2-3", ["FCN-Alex", "FCN-Alex*", "FCN-VGG", "FCN-VGG*"])])
def test_a_network_under_its_own_perturbation_is_table_2_1(table: str, networks: list[str]) -> None:
    (metric,) = {row["column"].split(" of ")[0] for row in published(f"thesis-{table}")}
    for network in networks:
        column = f"{metric} of {network}"
        assert cell(table, "no perturbation", column) == cell("table2-1", network, metric)
        (own,) = {row["method"] for row in published(f"thesis-{table}") if row["method"].endswith(f"({network})")}
        assert cell(table, own, column) == cell("table2-1", network, f"{metric} under dag")


def test_permuted_perturbations_do_next_to_nothing() -> None:
    for table in ("table2-2", "table2-3"):
        for row in published(f"thesis-{table}"):
            if row["method"].endswith("permuted"):
                clean, permuted = cell(table, "no perturbation", row["column"]), number(row)
                assert clean is not None
                assert permuted is not None
                assert abs(clean - permuted) < 0.6


def test_the_means_of_table_3_4_are_means() -> None:
    for method in {row["method"] for row in published("thesis-table3-4")}:
        *each, mean = [number(row) or 0.0 for row in published("thesis-table3-4", method=method)]
        assert mean == pytest.approx(sum(each) / len(each), abs=0.051)


def test_the_white_box_of_an_iterated_attack_is_stronger_than_its_transfer() -> None:
    for table in ("table3-1", "table3-2"):
        for row in published(f"thesis-{table}"):
            attack, _, source = row["method"].partition(" on ")
            own = cell(table, row["method"], f"attack success on {source}")
            assert attack == "FGSM" or row["column"].endswith(f" {source}") or (own or 0) > (number(row) or 0)


def test_tables_of_advprop_agree() -> None:
    """PGD5 is what Tables 7.3, 7.6 and 7.7 train against; Table 7.5 has the best eps of Table 7.2."""
    by_eps = cells("table7-2")
    for k in range(8):
        net = f"EfficientNet-B{k}"
        pgd5 = by_eps[f"{net}, AdvProp, PGD5 (eps = 4)"]
        assert cells("table7-3")[f"{net}, AdvProp, main BN"] == pgd5
        assert cells("table7-6")[f"{net}, + both"] == pgd5
        assert cells("table7-7").get(f"{net}, AdvProp, PGD", pgd5) == pgd5
        best = max(value or 0 for name, value in by_eps.items() if name.startswith(f"{net},"))
        assert cells("table7-5")[f"{net}, AdvProp, best eps"] == best
    for net in ("EfficientNet-B6", "EfficientNet-B7"):
        for row in published("thesis-table7-4", method=f"{net}, AdvProp"):
            assert number(row) == cell("table7-1", row["method"], row["column"])


def test_a_difference_that_does_not_fit_its_cells_says_so() -> None:
    """The thesis prints gains of 1.7 and 4.0 beside 20.2 to 22.5 and 20.9 to 25.9."""
    odd = [row["method"] for row in published("thesis-table7-1") if "(?)" in row["note"]]
    assert odd == ["EfficientNet-B4, AdvProp", "EfficientNet-B6, AdvProp"]


def test_strategies_are_those_of_table_6_1_and_better_with_consistent_statistics() -> None:
    table, earlier = cells("table6-2", "targeted pgd2000 at 16/255"), cells("table6-1", "targeted pgd2000 at 16/255")
    for method, value in earlier.items():
        assert table[method] == value
        assert (table[f"{method}, last 10 epochs with running statistics"] or 0) > (value or 0)


def test_relu_and_silu_are_the_same_in_all_tables_of_chapter_5() -> None:
    for activation, table, of in (("relu", "table5-1", {"smooth_gradient": "none"}),
                                  ("silu", "table5-3", {"method": "ResNet-50"})):
        figure = [number(row) for row in published("thesis-figure5-3", activation=activation)]
        assert figure == [number(row) for row in published(f"thesis-{table}", **of)]
