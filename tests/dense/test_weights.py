"""Networks from files: of just the named kind and number of classes, read without unpickling objects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnabench.dense import weights
from rnabench.dense.segmentation import Segmentation
from rnabench.dense.weights import build, kind_of, kinds, load_network
from rnabench.errors import CheckpointError, InvalidValue, RnabenchError
from tests.dense.subjects import CLASSES, DETECTS, SEGMENTS, lively_network, save

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in lively_network().state_dict().items()}


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_the_network_of_a_file_is_the_one_that_was_written(tmp_path: Path, ending: str) -> None:
    network, image = lively_network(), torch.rand(3, 32, 32)
    file = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save(network.state_dict(), file)
    else:
        save(network, file)
    loaded = load_network(SEGMENTS, file, CLASSES, CPU)
    assert isinstance(loaded, Segmentation)
    assert torch.equal(loaded.logits(image), Segmentation(network, CLASSES).logits(image))
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert not any(module.training for module in loaded.network.modules())


def test_counters_may_be_absent(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, tmp_path / "w.pth")
    load_network(SEGMENTS, tmp_path / "w.pth", CLASSES, CPU)


def test_building_leaves_torchs_generator_alone() -> None:
    before = torch.random.get_rng_state()
    build(SEGMENTS, 2)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_head_that_only_training_uses_is_read_and_does_nothing(tmp_path: Path) -> None:
    """As torchvision's own weights of FCN and DeepLab have one."""
    name = "deeplabv3_mobilenet_v3_large"
    file = save(build(name, 2, auxiliary=True), tmp_path / "w.safetensors")
    loaded = load_network(name, file, 2, CPU)
    assert isinstance(loaded, Segmentation)
    assert loaded.logits(torch.rand(3, 33, 40)).shape == (2, 33, 40)


class Object:
    pass


@pytest.mark.parametrize(("change", "said"), [
    ({"extra": torch.zeros(1)}, "another network"), ({"classifier.cbr.0.weight": None}, "another network"),
    ({"classifier.cbr.0.weight": torch.zeros(2, 2)}, "another network"),
    ({"classifier.cbr.1.bias": torch.full((128,), torch.nan)}, "not finite"),
    ({"classifier.cbr.1.bias": torch.zeros(128, dtype=torch.int8)}, "holds int8 numbers"),
    ({"classifier.cbr.1.bias": 3}, "no state_dict"), ({"extra": torch.zeros(3).to_sparse()}, "no state_dict"),
    ({"classifier.cbr.1.bias": Object()}, "cannot be read"),
], ids=["extra", "missing", "shape", "nan", "int8", "number", "sparse", "object"])
def test_other_weights_are_one_line(tmp_path: Path, state: dict[str, Tensor], change: dict[str, object], said: str
                                    ) -> None:
    torch.save({name: value for name, value in {**state, **change}.items() if value is not None}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as caught:
        load_network(SEGMENTS, tmp_path / "w.pth", CLASSES, CPU)
    assert str(caught.value).startswith("networks: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    file = save(lively_network(5), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"weights for 5 classes; expected 4 \(--classes"):
        load_network(SEGMENTS, file, CLASSES, CPU)


@pytest.mark.parametrize("content", [None, b"", b"no tensors"])
def test_what_is_no_file_of_weights_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "w.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^networks: .*expected"):
        load_network(SEGMENTS, file, CLASSES, CPU)


@pytest.mark.parametrize(("name", "near"), [
    ("lraspp_mobilenet_v3", SEGMENTS), ("fasterrcnn_resnet50", "fasterrcnn_resnet50_fpn"),
    ("fcn_resnet5", "fcn_resnet50"),
])
def test_an_unknown_network_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InvalidValue, match=f"did you mean '{near}'"):
        load_network(name, Path("w.safetensors"), CLASSES, CPU)
    assert {"lraspp_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_resnet50", DETECTS} <= kinds().keys()


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(RnabenchError, match=r"torchmetrics: not installed; .*rnabench\[dense\]"):
        kind_of(DETECTS)
    assert kind_of(SEGMENTS) is Segmentation  # which needs none
