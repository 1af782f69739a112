"""Records and tables of networks whose predictions depend on batch mates say so."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnabench.report.accuracies import read_accuracies
from rnabench.report.record import Record, Result
from rnabench.report.record_file import write_record
from rnabench.report.table import caption, legend
from rnabench.scoring.outcome import Outcome, batch_groups, fewest_groups, path_groups
from rnabench.scoring.trainings import compare
from tests.report.records import changed, handmade

PARAMETERS = {"kind": "pgd", "eps": 8 / 255, "backend": "native"}


def record(label: str, batch_dependent: bool | None, size: int = 2, backend: str = "native") -> Record:
    """Of four images, three draws for each."""
    correct = np.arange(12).reshape(4, 3) % 2 == 0
    outcome = Outcome("pgd9", "eot:3", correct, correct[:, 0], correct[:, 0], None)
    result = Result.of(outcome, "batch" if batch_dependent else "group", PARAMETERS | {"backend": backend})
    said: dict[str, Any] = {} if batch_dependent is None else {"batch_dependent": batch_dependent}
    begun = handmade(label, [Result.of(outcome, "sample", PARAMETERS)], attack_paths=4)
    return changed(begun, model=said, evaluation={"batch_size": size}, results=[result.content()])


def test_draws_serve_batches() -> None:
    mixing, plain = record("mixing", True), record("plain", False)
    groups = [each.outcome(each.results[0]).groups for each in (mixing, plain)]
    assert [each.tolist() for each in groups if each is not None] == [[0, 0, 1, 1], [0, 1, 2, 3]]


def test_only_what_depends_on_batch_mates_is_said_to() -> None:
    for plain in (record("plain", False), record("older", None)):
        assert "batch mates" not in caption([plain]) + legend([plain])
    said = caption([record("plain", False), record("mixing", True), record("other", True, 3)])
    assert said.endswith("; predictions of mixing depend on batch mates: batches of 2; predictions of other depend on "
                         "batch mates: batches of 3")
    assert "other batches" not in legend([record("mixing", True)])
    assert "pgd9: by a library" in legend([record("mixing", True, backend="torchattacks")])
    assert "by a library" not in legend([record("plain", False, backend="torchattacks")])


def test_a_check_compares_batch_sizes_where_they_decide(tmp_path: Any) -> None:
    settings = {}
    for name, each in {"mixing": record("net", True), "larger": record("net", True, 3), "plain": record("net", False),
                       "plainer": record("net", False, 3), "older": record("net", None)}.items():
        file = tmp_path / f"{name}.json"
        write_record(each, file)
        settings[name] = read_accuracies(file, "--against").sources["net"].settings
    assert settings["mixing"] != settings["larger"]
    assert settings["plain"] == settings["plainer"] == settings["older"]


def test_a_comparison_counts_the_fewest_groups_whichever_side_has_them() -> None:
    batches, paths = batch_groups(0, 12, 4), path_groups(0, 12, 6)
    for order in ((batches, paths, None), (paths, None, batches)):
        assert fewest_groups(order) is batches
    assert fewest_groups([None]) is None
    rng = np.random.default_rng(0)
    mixing, plain = (Outcome("a", "p", rng.random((12, 5)) < 0.5, np.ones(12, bool), np.ones(12, bool), groups)
                     for groups in (batches, paths))
    one, other = compare([mixing], [plain]).difference, compare([plain], [mixing]).difference
    assert (one.gap, one.error, one.degrees) == (-other.gap, other.error, other.degrees)


def test_groups_of_batches_number_the_batches_that_the_images_are_in() -> None:
    assert np.array_equal(np.concatenate([batch_groups(first, 4, 4) for first in (0, 4, 8)]), batch_groups(0, 12, 4))
