"""The example that tells the idea in one file: it runs, and does what it says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

FILE = Path(__file__).parents[1] / "examples" / "idea.py"


@pytest.fixture(scope="module")
def idea() -> ModuleType:
    spec = importlib.util.spec_from_file_location("idea", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_reads_from_top_to_bottom_in_150_lines_and_without_rnabench() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"^(from|import) rnabench", text, re.MULTILINE)


def test_it_prints_every_protocol_for_both_networks(idea: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    idea.main(1, 2, 12)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["natural", "paper", "same-path", "eot"]
    assert [row.split()[0] for row in rows] == ["bn", "bn+in"]
    assert all(row.count("±") == 4 for row in rows)


def test_draws_reach_every_layer_and_attacks_stay_in_their_ball(idea: ModuleType) -> None:
    torch.manual_seed(0)
    net = idea.network("bn+in").eval()
    layers = [layer for layer in net if isinstance(layer, idea.RandomNorm)]
    seen: list[set[int]] = [set() for _ in layers]
    for _ in range(20):
        idea.draw(net)
        for place, layer in enumerate(layers):
            seen[place].add(layer.choice)
    assert seen == [{0, 1}] * 6
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    for draws in (0, 3):
        moved = idea.pgd(net, images, labels, 8, draws)
        assert float((moved - images).abs().max()) <= idea.EPS + 1e-6
        assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_an_attack_on_one_path_leaves_the_network_on_it(idea: ModuleType) -> None:
    net = idea.network("bn+in").eval()
    idea.draw(net)
    before = [layer.choice for layer in net if isinstance(layer, idea.RandomNorm)]
    idea.pgd(net, torch.rand(2, 1, 8, 8), torch.arange(2), 3)
    assert [layer.choice for layer in net if isinstance(layer, idea.RandomNorm)] == before


def test_the_interval_counts_images_and_paths(idea: ModuleType) -> None:
    def width(outcomes: torch.Tensor) -> float:
        return float(idea.interval(outcomes).split("±")[1])

    agreeing = (torch.arange(100) < 50).float().expand(10, 100)
    by_path = (torch.arange(10) < 5).float()[:, None].expand(10, 100)
    assert width(agreeing) == pytest.approx(196 * (0.25 / 99) ** 0.5, abs=0.06)  # paths agree: the images' part
    assert width(by_path) == pytest.approx(196 * (0.25 / 9) ** 0.5, abs=0.06)  # images agree: the paths' part
