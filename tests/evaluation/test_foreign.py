"""A record of anybody's network is that of the code that it was made with."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnabench.cli.main import main
from rnabench.data.batches import Batch
from rnabench.defence.fingerprint import logits_sha256, source_sha256
from rnabench.defence.foreign import ForeignModel
from rnabench.report.stored import Packed
from tests.cli.models import noisy
from tests.helpers import Lambda

CODE = """\
import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(3 * 32 * 32, 10)
        nn.init.normal_(self.linear.weight, generator=generator)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x):
        return self.linear(x.flatten(1)) * 1.0


def make():
    return Mine()
"""
COMMAND = ["attack", "--model", "somebodys:make", "--attacks", "fgsm", "--n-examples", "16", "--no-sanity", "--device",
           "cpu"]


class Somebody:
    """Writes a module, and attacks what it makes as a process of its own would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def attack(self, code: str, *options: str) -> tuple[Any, str]:
        """The record, and what was said."""
        (self.folder / "somebodys.py").write_text(code)
        sys.modules.pop("somebodys", None)
        importlib.invalidate_caches()
        with pytest.raises(SystemExit) as end:
            main([*COMMAND, "--out", str(self.folder / "out"), *options])
        assert end.value.code == 0
        return json.loads((self.folder / "out" / "record.json").read_text()), self.said()

    def said(self) -> str:
        captured = self.capsys.readouterr()
        return " ".join((captured.out + captured.err).split())

    capsys: pytest.CaptureFixture[str]


@pytest.fixture
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Somebody]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits within a second of each other are seen, too
    found = Somebody(tmp_path)
    found.capsys = capsys
    yield found
    sys.modules.pop("somebodys", None)


def test_after_an_edit_of_forward_the_numbers_are_new(somebody: Somebody) -> None:
    first, said = somebody.attack(CODE)
    assert "taken over" not in said
    again, said = somebody.attack(CODE)
    assert again == first
    assert f"taken over: made {first['made'][:10]} {first['made'][11:16]} UTC by revision" in said
    edited, said = somebody.attack(CODE.replace("x.flatten(1)) * 1.0", "x.flatten(1)) * 0.0 + x.mean()"))
    assert "taken over" not in said
    assert edited["made"] > first["made"]
    assert edited["model"]["weights_sha256"] == first["model"]["weights_sha256"]
    assert edited["digest"] != first["digest"]
    assert len(np.unique(Packed.model_validate(edited["results"][0]["outcomes"]["correct"]).array())) == 2
    assert edited["results"] != first["results"]


def test_one_that_mixes_its_batch_is_recorded_and_told_as_such(somebody: Somebody) -> None:
    plain, said = somebody.attack(CODE)
    assert plain["model"]["batch_dependent"] is False
    assert "batch mates" not in said
    mixing, said = somebody.attack(CODE.replace("x.flatten(1)) * 1.0", "(x - x.mean(0)).flatten(1))"))
    assert mixing["model"]["batch_dependent"] is True
    assert "batches of 128 stay whole" in said
    assert "predictions of somebodys:make depend on batch mates: batches of 128" in said


def test_an_edit_that_the_first_batch_does_not_show_counts_too(somebody: Somebody) -> None:
    first = somebody.attack(CODE)[0]
    edited = somebody.attack(CODE.replace("* 1.0", "* (1.0 if len(x) < 1000 else 2.0)"))[0]
    assert edited["model"]["code"]["logits_sha256"] == first["model"]["code"]["logits_sha256"]
    assert edited["model"]["code"]["source_sha256"] != first["model"]["code"]["source_sha256"]
    assert edited["digest"] != first["digest"]


def test_what_it_computes_counts_where_no_source_has_changed(somebody: Somebody) -> None:
    """Such as a file that the network reads."""
    reading = CODE.replace("import torch\n", "import pathlib\n\nimport torch\n", 1).replace(
        "* 1.0", "* float(pathlib.Path('scale').read_text())")
    records = []
    for scale in ("1.0", "-1.0"):
        (somebody.folder / "scale").write_text(scale)
        records.append(somebody.attack(reading)[0])
    first, edited = (record["model"]["code"] for record in records)
    assert first["source_sha256"] == edited["source_sha256"]
    assert first["logits_sha256"] != edited["logits_sha256"]
    assert records[0]["digest"] != records[1]["digest"]


def batch(images: int = 4) -> Batch:
    pixels = torch.rand(images, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Batch(pixels, torch.zeros(images, dtype=torch.int64), list(range(images)))


def test_random_networks_have_a_hash_if_a_seed_fixes_their_draws() -> None:
    own = torch.Generator().manual_seed(0)
    unfixed = Lambda(lambda x: x.flatten(1)[:, :10] + torch.randn(len(x), 10, generator=own))
    data = batch()
    assert logits_sha256(ForeignModel(unfixed, data.images, 10), data) is None
    model = ForeignModel(noisy(), data.images, 10)
    assert model.space.is_random
    assert logits_sha256(model, data) == logits_sha256(model, data) is not None
    louder = Lambda(lambda x: x.flatten(1)[:, :10] + 1.001 * torch.randn(len(x), 10))
    assert logits_sha256(ForeignModel(louder, data.images, 10), data) != logits_sha256(model, data)


def test_every_image_of_the_batch_counts() -> None:
    def late(x: torch.Tensor) -> torch.Tensor:
        logits = x.flatten(1)[:, :10]
        return torch.where((x[:, :1, 0, 0] == last).expand_as(logits), logits + 1, logits)

    data = batch(50)
    last = data.images[-1, 0, 0, 0]
    plain = Lambda(lambda x: x.flatten(1)[:, :10])
    hashes = [logits_sha256(ForeignModel(model, data.images[:8], 10), data) for model in (plain, Lambda(late))]
    assert hashes[0] != hashes[1]


def test_torchs_own_layers_are_no_source() -> None:
    assert source_sha256(torch.nn.Linear(1, 1), "no_such_module:f") is None
    assert source_sha256(Lambda(torch.sin), "no_such_module:f") is not None


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_what_the_caller_switched_off_is_no_fault_of_the_network(off: Callable[[], AbstractContextManager[object]]
                                                                  ) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10))
    with off():
        assert ForeignModel(network, torch.rand(4, 3, 8, 8), 10).differentiable
