"""Released checkpoints: a converted network computes what the one that was saved does, and export is the way back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnabench import build_model
from rnabench.errors import CheckpointError, InvalidValue
from rnabench.exchange.export import frozen
from rnabench.exchange.names import released_names, released_space
from rnabench.exchange.released import load_released, read_released, released_size, released_state
from rnabench.model.classifier import RandomizedClassifier
from rnabench.norm.layers import Norm
from rnabench.path.path import Path as NormPath
from tests.exchange.released_networks import on_path, released, wrapped

FILE = Path("file.pt")


def images(count: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def converted(tensors: dict[str, Tensor], arch: str, space: str, seed: int = 1) -> RandomizedClassifier:
    width, classes = released_size(tensors, arch)
    model = build_model(arch, space, classes or 10, width, seed=seed)
    load_released(model, tensors, arch, space, FILE)
    return model.eval()


@pytest.mark.parametrize(("arch", "space", "ours", "theirs"), [
    ("resnet18", "bn+in", "network.1.conv1.weight", "module.conv1.weight"),
    ("resnet18", "bn+in", "network.1.norm1.options.0.weight", "module.bn1.norm.0.weight"),
    ("resnet18", "bn+in", "network.1.stages.0.0.norm1.options.0.weight", "module.layer1.0.bn1.norm.0.weight"),
    ("resnet18", "bn+in", "network.1.stages.0.0.conv1.weight", "module.layer1.0.conv1.weight"),
    ("resnet18", "bn+in", "network.1.stages.1.0.shortcut.0.weight", "module.layer2.0.shortcut.0.weight"),
    ("resnet18", "bn+in", "network.1.stages.1.0.shortcut.1.options.1.bias", "module.layer2.0.shortcut.1.norm.1.bias"),
    ("resnet18", "bn", "network.1.stages.1.0.shortcut.1.bias", "module.layer2.0.shortcut.1.bias"),
    ("resnet18", "bn+in", "network.1.linear.weight", "module.linear.weight"),
    ("wrn32", "bn+in", "network.1.blocks.0.norm1.options.0.weight", "module.block1.layer.0.bn1.norm.0.weight"),
    ("wrn32", "bn+in", "network.1.blocks.14.norm2.options.1.bias", "module.block3.layer.4.bn2.norm.1.bias"),
    ("wrn32", "bn+in", "network.1.blocks.0.shortcut.weight", "module.block1.layer.0.convShortcut.weight"),
    ("wrn32", "bn+in", "network.1.norm.weight", "module.bn1.weight"),
    ("wrn32", "bn+in", "network.1.linear.weight", "module.fc.weight"),
])
def test_names(arch: str, space: str, ours: str, theirs: str) -> None:
    state = build_model(arch, space, width=2).state_dict()
    names = released_names(arch, state)
    assert names[ours] == theirs
    assert len(set(names.values())) == len(names) == len(state) - 2  # all but the input normalisation


def test_an_architecture_without_released_names() -> None:
    with pytest.raises(InvalidValue, match=r"arch: 'lenet'.* resnet18, wrn32, resnet50"):
        released_names("lenet", [])


@pytest.mark.parametrize(("arch", "space"), [
    ("resnet18", "bn"), ("resnet18", "in"), ("resnet18", "bgn4"), ("resnet18", "bn+in"), ("resnet18", "in+bn"),
    ("resnet18", "bgn4+ln+gn2+bn"), ("resnet18", "in-plain"),
    ("resnet18", "bn+in-plain"), ("wrn32", "in-plain+in"), ("wrn32", "in"), ("wrn32", "bn+in"), ("wrn32", "ln+bgn8"),
])
def test_every_option_computes_what_the_released_network_does(arch: str, space: str) -> None:
    network = released(arch, space).double()
    model = converted({name: tensor.clone() for name, tensor in wrapped(network).items()}, arch, space).double()
    x = images().double()
    paths = list(model.space.uniform_paths().values()) if model.space.is_random else [NormPath(((),))]
    paths += [model.space.sample(torch.Generator().manual_seed(seed)) for seed in range(4)]
    outputs = []
    with torch.no_grad():
        for path in paths:
            outputs.append(on_path(network, path.rows[0], x))
            torch.testing.assert_close(model.on(path)(x), outputs[-1], rtol=1e-6, atol=1e-6)  # weights passed float32
    if model.space.is_random:  # otherwise the comparison would say nothing
        assert all((outputs[0] - other).abs().max() > 1e-3 for other in outputs[1:2])


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3},
                                  lambda state: {"net": state, "acc": 0.5},
                                  lambda state: {name.removeprefix("module."): t for name, t in state.items()}])
def test_where_the_tensors_may_lie(wrap: Callable[[dict[str, Tensor]], object], tmp_path: Path) -> None:
    state = wrapped(released("resnet18", "bn", width=2))
    torch.save(wrap(state), tmp_path / "file.pt")
    found = read_released(tmp_path / "file.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_what_may_be_absent_is_told_and_nothing_else() -> None:
    counters = {name: tensor for name, tensor in wrapped(released("resnet18", "bn", width=2)).items()
                if not name.endswith("num_batches_tracked")}
    (told,) = load_released(build_model("resnet18", "bn", width=2), counters, "resnet18", "bn", FILE)
    assert "20 counters" in told


@pytest.mark.parametrize(("arch", "file", "asked"), [
    ("resnet18", "in-plain", "in"), ("wrn32", "in-plain", "in"), ("resnet18", "bn+in-plain", "bn+in"),
    ("resnet18", "in-plain+bn", "in+bn"), ("wrn32", "bn+in", "bn+in-plain"), ("resnet18", "in", "in-plain"),
])
def test_an_instance_normalisation_with_the_wrong_affine_is_named(arch: str, file: str, asked: str) -> None:
    tensors = wrapped(released(arch, file, width=2))
    with pytest.raises(CheckpointError, match=rf"did you mean --space {re.escape(file)}\?"):
        load_released(build_model(arch, asked, width=2), tensors, arch, asked, FILE)


@pytest.mark.parametrize(("text", "space"), [
    ("bn+gnr_1", "bn+in"), ("gn_1+gn_2", "ln+gn2"), ("gnr_1+gnr_2", "in+gn[2]"), ("gn_32", "gn32"),
    ("bn+in-plain+GN_4+gbnr_4", "bn+in-plain+gn4+bgn[4]"), ("gbn_32", "bgn32"), ("bn+in", "bn+in"), ("bgn32", "bgn32"),
])
def test_the_files_own_names_say_whether_a_number_is_a_count_or_a_size(text: str, space: str) -> None:
    ours, read = released_space(text)
    assert ours == space
    assert read.count(":") == text.count("_")  # every number is read aloud


@pytest.mark.parametrize(("groups", "asked"), [("bgn2", "bgn[2]"), ("bgn2+ln", "bgn[2]+ln")])
def test_a_bgn_tells_its_groups_by_its_running_statistics(groups: str, asked: str) -> None:
    tensors = wrapped(released("resnet18", groups))
    with pytest.raises(CheckpointError, match=r"wrong: '.*running_mean' is \(2,\) instead of \(4,\)"):
        converted(tensors, "resnet18", asked)


@pytest.mark.parametrize("text", ["gn[1-2]", "gn32", "bn+gn[4]", "bgn+gn[1-4]", "gn2+gn_4"])
def test_a_gn_that_could_be_a_count_or_a_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"--space: .*gn_N for N groups or gnr_N for groups of N channels"):
        released_space(text)


@pytest.mark.parametrize(("arch", "space"), [("resnet18", "bn+in"), ("resnet18", "in"), ("wrn32", "bn+gn4"),
                                             ("resnet18", "bgn2+gn4"), ("resnet18", "in-plain+bn")])
def test_conversion_undoes_export(arch: str, space: str) -> None:
    model = build_model(arch, space, 7, 2 if arch == "wrn32" else 8, seed=5)
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():  # statistics and counters too
        tensor.copy_(10 * torch.rand(tensor.shape, generator=generator))
    state = released_state(model, arch)
    back = converted(state, arch, space).state_dict()
    for name, tensor in model.state_dict().items():
        told = "num_batches_tracked" not in name or "bgn" not in space  # a released BGN counts nothing
        if not name.startswith("network.0.") and told:
            assert torch.equal(back[name], tensor), name
    again = released_state(converted(state, arch, space, seed=9), arch)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize(("arch", "space"), [("resnet18", "bn+in"), ("wrn32", "bgn4+ln+bn"), ("resnet18", "gn2"),
                                             ("resnet18", "bgn4")])
def test_export_has_the_released_names_and_shapes(arch: str, space: str) -> None:
    expected = wrapped(released(arch, space))
    written = released_state(converted(expected, arch, space), arch)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("arch", "space"), [("resnet18", "bn+in"), ("resnet18", "bgn4"), ("wrn32", "gn4+bgn2+ln"),
                                             ("resnet18", "bn+in-plain"), ("resnet18", "in-plain")])
def test_a_frozen_path_equals_the_network_on_it(arch: str, space: str) -> None:
    """Logits and input gradients; and it is made of torch's own layers, and shares nothing."""
    model = converted(wrapped(released(arch, space)), arch, space).double()
    for seed in range(3):
        path = model.space.sample(torch.Generator().manual_seed(seed))
        network = frozen(model, path)
        assert not any(isinstance(module, Norm) for module in network.modules())
        results = []
        for function in (network, model.on(path)):
            x = images().double().requires_grad_()
            logits = function(x)
            results.append((logits.detach(), torch.autograd.grad(logits.logsumexp(1).sum(), x)[0]))
        torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-6)
        with torch.no_grad():
            next(network.parameters()).zero_()
    assert all(bool(tensor.any()) for tensor in model.parameters())


def test_only_one_row_can_be_frozen() -> None:
    model = build_model("resnet18", "bn+in", width=2)
    with pytest.raises(InvalidValue, match="1 row"):
        frozen(model, model.space.sample(torch.Generator(), rows=2))
