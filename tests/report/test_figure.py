"""What figures share: any name can be drawn, as it is written."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text
from PIL import Image

from rnabench.report.figure import new_figure, save


@pytest.mark.parametrize("name", ["$x^2$", r"$\frac$", "US$ and $", "plain"])
def test_a_name_is_no_mathematics(name: str, tmp_path: Path) -> None:
    figure, axes = new_figure(3, 2)
    axes.plot([1, 10, 100], [1, 2, 3], label=name)
    axes.set_xscale("log")
    axes.set_yticks([1, 2, 3], [name, "b", "c"])
    axes.set_title(name)
    axes.legend()
    png, svg = save(figure, tmp_path / "figure")
    Image.open(png).verify()
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    named = [text for text in texts if text.get_text() == name]
    assert len(named) >= 3
    assert not any(text.get_parse_math() for text in named)
    assert any(text.get_parse_math() for text in texts if "mathdefault" in text.get_text()), "ten to a power"
    assert svg.stat().st_size


def test_a_notebooks_own_figures_are_left_alone() -> None:
    before = matplotlib.get_backend()
    try:
        matplotlib.use("svg")
        new_figure(3, 2)
        assert matplotlib.get_backend() == "svg"
        assert not plt.get_fignums()
    finally:
        matplotlib.use(before)
