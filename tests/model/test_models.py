"""Networks: sizes from the paper, the deployed classifier, saving and loading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rnabench import PathSpace, build_model, load_model, use_path
from rnabench.attack.estimators import OnePath
from rnabench.errors import CheckpointError, InvalidValue
from rnabench.model.saved import save_weights
from rnabench.norm.layers import BatchGroupNorm
from rnabench.path.path import Path as NormPath
from rnabench.runtime.files import sha256


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_resnet18_has_20_choice_layers_and_2_to_the_20_paths() -> None:
    model = build_model("resnet18", "bn+in")
    space = PathSpace.of(model)
    assert len(space.layers) == 20
    assert space.count == 2**20
    plain = build_model("resnet18", "bn")
    assert PathSpace.of(plain).count == 1
    assert sum(p.numel() for p in plain.parameters()) == 11_173_962  # the paper's 11.17 M


def test_wrn32_has_30_choice_layers_a_final_bn_and_46_million_parameters() -> None:
    model = build_model("wrn32", "bn+in")
    assert len(model.space.layers) == 30
    assert isinstance(model.network[1].norm, BatchGroupNorm)
    plain = build_model("wrn32", "bn")
    assert round(sum(p.numel() for p in plain.parameters()) / 1e6) == 46


def test_resnet50_replaces_all_53_norms() -> None:
    assert len(build_model("resnet50", "bgn+gn[1-2]", 1000).space.layers) == 53


def test_width_and_layer_based_draws() -> None:
    model = build_model("resnet18", "bn+in+gn4", width=4, layer_based=True)
    assert model.space.count == 3
    assert model(images()).shape == (4, 10)


@pytest.mark.parametrize("arch", ["resnet18", "wrn32"])
def test_every_option_gets_trained(arch: str) -> None:
    """Over the paths of a few steps every parameter receives a gradient, and per-sample paths reach all at once."""
    model = build_model(arch, "bn+in+gn2", width=1 if arch == "wrn32" else 4)
    torch.nn.init.normal_(model.network[1].linear.weight)
    path = NormPath(tuple(((k,) * len(model.space.layers)) for k in (0, 1, 2)))
    model.on(path)(images(3)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_a_fresh_path_in_every_forward_reproducible_by_seed() -> None:
    model = build_model("resnet18", "bn+in", width=4, seed=3).eval()
    torch.nn.init.normal_(model.network[1].linear.weight)
    for layer in (m for m in model.modules() if isinstance(m, BatchGroupNorm)):
        layer.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    x, before = images(), torch.random.get_rng_state()
    with torch.no_grad():
        drawn = [model(x) for _ in range(4)]
        model.reseed(3)
        again = [model(x) for _ in range(4)]
        path = next(model.space.enumerate(limit=2**20))
        fixed = [model.on(path)(x) for _ in range(2)]
        with use_path(model, path):
            inside = model(x)
    assert len({float(logits[0, 0]) for logits in drawn}) > 1
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert torch.equal(fixed[0], fixed[1])
    assert torch.equal(fixed[0], inside)
    assert not model.on(path).training  # a library that restores the mode it finds leaves the model in eval mode
    assert torch.equal(torch.random.get_rng_state(), before)


def test_per_sample_rows_equal_one_forward_per_image() -> None:
    model = build_model("resnet18", "bn+in", width=4).double().eval()
    x = images().double()
    path = model.space.sample(torch.Generator().manual_seed(0), rows=4)
    together = model.on(path)(x)
    alone = torch.cat([model.on(NormPath((row,)))(x[k : k + 1]) for k, row in enumerate(path.rows)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)
    with pytest.raises(InvalidValue, match="rows"):
        model.on(path)(x[:3])


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build_model("resnet18", "bn", width=4, seed=7)
    torch.manual_seed(2)
    second, third = (build_model("resnet18", "bn", width=4, seed=seed) for seed in (7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.network[1].conv1.weight, third.network[1].conv1.weight)


@pytest.mark.slow
def test_compiled_equals_eager_with_one_graph_for_all_paths() -> None:
    eager, compiled = (build_model("resnet18", "bn+in", width=2, seed=1).eval() for _ in range(2))
    for model in (eager, compiled):
        torch.nn.init.normal_(model.network[1].linear.weight, generator=torch.Generator().manual_seed(0))
    compiled.network.compile(backend="aot_eager")  # the same graph capture, without a C++ compiler
    compiled.tensor_paths = True
    graphs = []
    for seed in range(4):
        path = eager.space.sample(torch.Generator().manual_seed(seed))
        torch.testing.assert_close(compiled.on(path)(images()), eager.on(path)(images()))
        gradients = [OnePath(model, path).gradient(images(), torch.arange(4)) for model in (eager, compiled)]
        assert gradients[0].abs().max() > 0
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] > 0
    assert len(set(graphs)) == 1  # one graph serves all paths


def saved_run(folder: Path, space: str = "bn+in") -> Path:
    folder.mkdir(exist_ok=True)
    model = build_model("resnet18", space, width=2, seed=5)
    save_weights(model.state_dict(), folder)
    described = {"arch": "resnet18", "space": space, "width": 2, "classes": [str(k) for k in range(10)],
                 "mean": [0.5] * 3, "std": [0.2] * 3, "layer_based": False, "granularity": "batch"}
    hashed = sha256(folder / "model.safetensors")
    (folder / "run.json").write_text(json.dumps({"model": described, "recipe": {}, "weights_sha256": hashed}))
    return folder


def test_saved_and_loaded(tmp_path: Path) -> None:
    model, loaded = build_model("resnet18", "bn+in", width=2, seed=5), load_model(saved_run(tmp_path))
    assert not loaded.training
    for name, value in model.state_dict().items():
        if not name.startswith("network.0."):
            assert torch.equal(loaded.state_dict()[name], value)


def forget_hash(run: Path, back: bool = False) -> None:
    described = json.loads((run / "run.json").read_text())
    described.pop("weights_sha256", None)
    (run / "run.json").write_text(json.dumps(described | ({"weights_sha256": "0" * 64} if back else {})))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run")
    weights = run / "model.safetensors"
    whole = weights.read_bytes()
    for content in (whole[:1000], b"", b"\x80\x04K\x01.", whole[: len(whole) // 2]):
        weights.write_bytes(content)
        forget_hash(run)
        with pytest.raises(CheckpointError, match="truncated or not a safetensors"):
            load_model(run)
    save_file({"a": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError, match="another network"):
        load_model(run)
    weights.write_bytes((saved_run(tmp_path / "other", "bn+ln+in") / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"expected resnet18 with space bn\+in"):
        load_model(run)
    forget_hash(run, back=True)
    weights.write_bytes((saved_run(tmp_path / "twin", "bn+ln") / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not the file that this run wrote"):  # the same names and shapes
        load_model(run)
    weights.unlink()
    with pytest.raises(CheckpointError, match="finished run"):
        load_model(run)
    for text in ("{", "[]", "{}", '{"model": {"arch": "resnet18"}}'):
        (run / "run.json").write_text(text)
        with pytest.raises(CheckpointError):
            load_model(run)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize(("counter", "dtype", "taken"), [
    *((False, dtype, True) for dtype in (torch.float16, torch.bfloat16, torch.float64)),
    *((False, dtype, False) for dtype in (torch.int8, torch.bool, torch.int64, torch.float8_e4m3fn)),
    (True, torch.int32, True), (True, torch.bool, False), (True, torch.float32, False), (True, torch.int8, False),
])
def test_numbers_of_another_kind_are_not_cast(counter: bool, dtype: torch.dtype, taken: bool, tmp_path: Path) -> None:
    """A weight of 0.3 is 0 as int8 and 1 as bool: the network would be another one."""
    run = saved_run(tmp_path)
    tensors = load_file(run / "model.safetensors")
    name = next(name for name in tensors if name.endswith("num_batches_tracked" if counter else "conv1.weight"))
    before = tensors[name]
    save_file(tensors | {name: before.to(dtype)}, run / "model.safetensors")
    forget_hash(run)
    if taken:
        torch.testing.assert_close(load_model(run).state_dict()[name], before, rtol=0.01, atol=1e-4)
    else:
        told = str(dtype).removeprefix("torch.")
        with pytest.raises(CheckpointError, match=f"'{name}' holds {told} numbers; expected one of"):
            load_model(run)


@pytest.mark.parametrize("change", [{"arch": "resnet81"}, {"space": "bn+bn"}, {"num_classes": 1}, {"width": 0},
                                    {"space": "gn7"}, {"arch": "resnet50", "width": 16}])
def test_names_and_sizes_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(change)) if len(change) == 1 else "width"):
        build_model(**{"arch": "resnet18", "space": "bn+in", **change})  # type: ignore[arg-type]
