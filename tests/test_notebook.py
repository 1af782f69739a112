"""The notebook runs from top to bottom, says what it promises, and is committed without outputs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
FILE = ROOT / "examples" / "draws.ipynb"


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None
               for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_it_runs_and_shows_the_order_of_the_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    """One path attacked and predicting leaves least: that is a law, where the attacker knows the draw."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(FILE, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    said = "".join(output.get("text", "") for cell in notebook.cells if cell.cell_type == "code"
                   for output in cell.outputs)
    rows = re.findall(r"^ *([\d.]+)%  right .*%  ([\w-]+)", said, re.MULTILINE)
    shares = {name: float(share) for share, name in rows}
    assert set(shares) == {"no", "paper", "eot", "same-path"}
    assert shares["same-path"] <= shares["paper"] < shares["no"]
    assert any("image/png" in output.get("data", {}) for output in notebook.cells[-2].outputs)
