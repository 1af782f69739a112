"""`rnabench dense` from its options to its files: it stops and goes on, and bad input is one line before it starts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnabench.cli.main import main
from rnabench.errors import RnabenchError
from rnabench.jobs.dense import load_dense, run_dense
from rnabench.report.dense import markdown, read_dense
from rnabench.runtime.progress import Silent
from rnabench.runtime.stopping import Stopped, StopRequest
from rnabench.settings.dense import DenseSettings
from tests.dense.subjects import CLASSES, SEGMENTS, lively_network, lively_segmentation, save, write_folder
from tests.helpers import AfterBatches, visible
from tests.simulated_gpu import simulated_gpu

ROOT = Path(__file__).parents[2]
SETTINGS = DenseSettings(classes=CLASSES, steps=4, gamma=2 / 255, permuted=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks and a folder whose masks are what the first one sees: it is right everywhere."""
    place = tmp_path_factory.mktemp("dense")
    folder = write_folder(place / "data")
    for seed, name in enumerate(("first", "second")):
        save(lively_network(seed=seed), place / f"{name}.safetensors")
    for file in (folder / "images").iterdir():
        image = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
        mask = lively_segmentation(0).logits(image).argmax(0).byte()
        Image.fromarray(mask.numpy()).save(folder / "masks" / file.name)
    return place


def named(place: Path, *names: str) -> list[str]:
    return [f"{SEGMENTS}={place / name}.safetensors" for name in names]


def command(place: Path, *more: str, networks: list[str] | None = None) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["dense", *(networks or named(place, "first", "second")), "--data-dir", str(place / "data"), "--classes",
              str(CLASSES), "--steps", "4", "--gamma", "2/255", "--permuted", "2", *more])
    return int(caught.value.code or 0)


def test_from_options_to_files(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(place, "--out", str(tmp_path / "out")) == 0
    assert visible(tmp_path / "out") == {f"dense.{ending}" for ending in ("json", "csv", "md", "png", "svg")}
    record = read_dense(tmp_path / "out" / "dense.json")
    first, second = f"{SEGMENTS}:first", f"{SEGMENTS}:second"
    cells = {(cell["source"], cell["network"]): cell for cell in record["cells"]}
    assert set(cells) == {(source, network) for source in ("none", first, second, f"{first} + {second}")
                          for network in (first, second)}
    assert cells["none", first]["value"] == 1 > cells["none", second]["value"]
    assert cells["none", first]["permuted"] is None
    assert cells[first, first]["value"] < cells[first, first]["permuted"] <= 1  # structure is what does it
    attack = record["attacks"][first]
    assert [len(attack[part]) for part in attack] == [3] * 4
    for active, targets, length in zip(attack["active"], attack["targets"], attack["linf"], strict=True):
        assert active[0] == targets
        assert active[-1] < targets
        assert len(active) <= 5
        assert 0 < length <= 4 * 2 / 255 * (1 + 1e-4)
    assert markdown(record) == (tmp_path / "out" / "dense.md").read_text()
    with (tmp_path / "out" / "dense.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert [float(row["percent"]) for row in rows] == pytest.approx([100 * cell["value"] for cell in record["cells"]])
    said = capsys.readouterr().out
    assert f"{first}: mIoU 100.0 % as it is" in said
    written = (tmp_path / "out" / "dense.json").read_bytes()
    assert command(place, "--out", str(tmp_path / "out")) == 0  # the same is not made again
    assert (tmp_path / "out" / "dense.json").read_bytes() == written


@pytest.mark.slow
def test_on_a_gpu_it_is_the_same(place: Path) -> None:
    def cells(device: str) -> list[dict[str, object]]:
        work = load_dense(named(place, "first", "second"), place / "data", SETTINGS, device)
        found: list[dict[str, object]] = run_dense(work, place / f"{device}.json", Silent(), StopRequest())["cells"]
        return found

    with simulated_gpu():
        on_gpu = cells("cuda")
    assert on_gpu == cells("cpu")


def test_a_stopped_run_goes_on_to_the_same_numbers(place: Path, tmp_path: Path) -> None:
    work = load_dense(named(place, "first"), place / "data", SETTINGS, "cpu")
    whole = run_dense(work, tmp_path / "whole.json", Silent(), StopRequest())
    with pytest.raises(Stopped, match="1 of 3 images"):
        run_dense(work, tmp_path / "parts.json", Silent(), AfterBatches(tmp_path / "parts.progress", 1))
    assert not (tmp_path / "parts.json").exists()
    parts = run_dense(work, tmp_path / "parts.json", Silent(), StopRequest())
    assert (parts["cells"], parts["attacks"]) == (whole["cells"], whole["attacks"])
    assert visible(tmp_path) == {"whole.json", "parts.json"}


def test_sources_are_attacked_and_the_others_only_look(place: Path) -> None:
    settings = SETTINGS.model_copy(update={"sources": (f"{SEGMENTS}:second",), "n_examples": 1})
    work = load_dense(named(place, "first", "second"), place / "data", settings, "cpu")
    assert len(work.folder) == 1
    assert work.sources == [f"{SEGMENTS}:second"]
    assert work.identity != load_dense(named(place, "first", "second"), place / "data", SETTINGS, "cpu").identity


@pytest.mark.parametrize(("more", "networks", "said"), [
    ([], ["lraspp_mobilenet_v3=x"], "did you mean 'lraspp_mobilenet_v3_large'"),
    ([], [SEGMENTS], "expected NAME=FILE"), ([], [f"{SEGMENTS}=nowhere.safetensors"], "is not a file"),
    (["--classes", "5"], None, "weights for 4 classes; expected 5"),
    (["--sources", "first"], None, "--sources: 'first' is not valid"), (["--steps", "0"], None, "--steps"),
    (["--gamma", "0"], None, "--gamma"), (["--classes", "1"], None, "--classes"),
    (["--device", "tpu"], None, "--device"), (["--data-dir", "nowhere"], None, "has no images"),
])
def test_bad_input_is_one_line_and_nothing_is_written(
    place: Path, tmp_path: Path, more: list[str], networks: list[str] | None, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(place, "--out", str(tmp_path / "out"), *more, networks=networks) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_the_same_network_twice_is_refused(place: Path) -> None:
    with pytest.raises(RnabenchError, match="every network once"):
        load_dense(named(place, "first", "first"), place / "data", SETTINGS, "cpu")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"dense": 7, "attacks": {}}', '{"dense": 1, "attacks": {}}'])
def test_what_is_no_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "dense.json").write_text(content)
    with pytest.raises(RnabenchError, match=r"^record: "):
        read_dense(tmp_path / "dense.json")


def test_committed_records_agree_with_their_pages() -> None:
    for file in (ROOT / "results").glob("*/dense.json"):
        assert markdown(read_dense(file)) == file.with_suffix(".md").read_text(), file
        assert "study" not in json.loads(file.read_text())
