"""What stands under a table."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from rnabench.cli.output import finish
from rnabench.settings.recipe import Claim
from tests.report.records import model


def test_claims_of_a_recipe_without_a_published_table_are_answered(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [model("good", 0.9, 0), model("bad", 0.1, 1)]
    recipe = SimpleNamespace(claims=[Claim(says="good is better", higher="good", lower=("bad",), attack="pgd10")],
                             published=None)
    finish(records, tmp_path, "Title", recipe)  # type: ignore[arg-type]
    for text in (capsys.readouterr().out, (tmp_path / "table.md").read_text()):
        joined = " ".join(text.split())
        assert "Claimed: good is better. Here good, pgd10" in joined
        assert "shown against bad" in joined
