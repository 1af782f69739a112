"""Feature denoising: what the operations compute, and what a network with the blocks is."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnabench import build_model
from rnabench.errors import InvalidValue
from rnabench.exchange.export import frozen
from rnabench.model.denoisers import by_channels, by_positions
from rnabench.model.denoising import DenoisingBlock
from rnabench.norm.layers import norm_layers
from rnabench.path.path import Path
from rnabench.seeding import stream
from rnabench.settings.parts import DENOISERS, ENDINGS

KEEP_CONSTANTS = ["gaussian", "bilateral", "mean", "median", "null"]


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*(shape or (2, 4, 5, 6)), generator=stream(seed), dtype=torch.float64)


def operation(name: str, channels: int = 4, pooled: bool = False) -> nn.Module:
    module: nn.Module = DENOISERS[name].build(channels, pooled)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(maps(*parameter.shape, seed=number + 1))
    return module.double()


def block(name: str, ending: str = "", channels: int = 4) -> DenoisingBlock:
    return DenoisingBlock(channels, operation(name, channels), ending).double()


def window(row: int, column: int, x: Tensor) -> list[tuple[int, int]]:
    """The positions of a 3x3 window that are in the map."""
    return [(i, j) for i in range(row - 1, row + 2) for j in range(column - 1, column + 2)
            if 0 <= i < x.shape[2] and 0 <= j < x.shape[3]]


def by_hand(name: str, module: nn.Module, x: Tensor) -> Tensor:
    """Position by position, as the thesis writes it."""
    result = torch.empty_like(x)
    for n in range(len(x)):
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                inside = window(row, column, x)
                if name in ("gaussian", "dot"):
                    inside = [(i, j) for i in range(x.shape[2]) for j in range(x.shape[3])]
                others, here = torch.stack([x[n, :, i, j] for i, j in inside]), x[n, :, row, column]
                if name in ("gaussian", "bilateral"):
                    theta, phi = (getattr(module, part).weight[:, :, 0, 0] for part in ("theta", "phi"))
                    products = torch.stack([theta @ here @ (phi @ other) for other in others])
                    weights = (products / math.sqrt(len(theta))).exp()
                    result[n, :, row, column] = (weights[:, None] * others).sum(0) / weights.sum()
                elif name in ("dot", "bilateral-dot"):
                    result[n, :, row, column] = ((others @ here)[:, None] * others).mean(0)
                elif name == "mean":
                    result[n, :, row, column] = others.mean(0)
                else:  # the median, of as many values as a whole window has: those at the border count again
                    i, j = ([min(max(place + step, 0), size - 1) for step in (-1, 0, 1)]
                            for place, size in ((row, x.shape[2]), (column, x.shape[3])))
                    result[n, :, row, column] = x[n][:, i][:, :, j].flatten(1).median(1).values
    return result


@pytest.mark.parametrize("name", ["gaussian", "dot", "bilateral", "bilateral-dot", "mean", "median"])
def test_operations_are_what_the_thesis_writes(name: str) -> None:
    module, x = operation(name), maps()
    for given_maps in (x, x.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(module(given_maps), by_hand(name, module, x))


@given(st.sampled_from(KEEP_CONSTANTS), st.booleans(), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_constant_maps_stay(name: str, pooled: bool, height: int, width: int, seed: int) -> None:
    x = maps(2, 4, 1, 1, seed=seed).expand(2, 4, height, width)
    torch.testing.assert_close(operation(name, pooled=pooled)(x), x)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_dot_products_in_either_order(here: int, others: int, channels: int, seed: int) -> None:
    rows, values = maps(2, here, channels, seed=seed), maps(2, others, channels, seed=seed + 1)
    torch.testing.assert_close(by_positions(rows, values), by_channels(rows, values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "dot"])
def test_pooled_they_look_at_the_maxima_of_2x2_positions(name: str) -> None:
    """Which on maps of 2x2 equal pixels are those of all positions."""
    small = maps(2, 4, 3, 2).relu()
    x = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(operation(name, pooled=True)(x), operation(name)(x))
    torch.testing.assert_close(operation(name, pooled=True)(x)[:, :, ::2, ::2], operation(name)(small))


@pytest.mark.parametrize("name", list(DENOISERS))
def test_a_block_starts_as_the_identity_and_learns(name: str) -> None:
    x = maps(3, 4, 4, 4).requires_grad_()
    module = block(name)
    assert torch.equal(module(x), x)
    module(x).mul(maps(3, 4, 4, 4, seed=9)).sum().backward()
    assert bool(module.after.norm.weight.grad.abs().sum() > 0)
    nn.init.ones_(module.after.norm.weight)
    module(x).mul(maps(3, 4, 4, 4, seed=9)).sum().backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in module.parameters())
    assert bool(x.grad.isfinite().all())


def test_what_a_block_leaves_out() -> None:
    x = maps()
    for ending in ("", *ENDINGS):
        module = block("mean", ending).eval()
        denoised = operation("mean")(x)
        weights = module.after.conv.weight[:, :, 0, 0] if ending != "-no-1x1" else torch.eye(4, dtype=torch.float64)
        mixed = torch.einsum("oc,nchw->nohw", weights, denoised)
        expected = {"": x, "-no-1x1": x + denoised, "-no-bn": x + mixed,
                    "-no-residual": mixed / math.sqrt(1 + 1e-5)}[ending]  # of a BN with statistics 0 and 1
        torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(("arch", "width", "stages", "blocks"), [
    ("resnet18", 4, 4, 8), ("resnet20", 4, 3, 9), ("resnet50-cifar", 4, 3, 24), ("wrn16", 1, 3, 6), ("vgg11", 4, 5, 0),
    ("rs-resnet18", 4, 4, 8)])
def test_blocks_stand_where_stages_or_residual_blocks_end(arch: str, width: int, stages: int, blocks: int) -> None:
    """The rest of the network starts as it does without them, and so does the whole."""
    x = torch.rand(2, 3, 32, 32, generator=stream(1))
    plain = build_model(arch, "bn", width=width, seed=3).eval()
    for at, count in (("stages", stages), ("blocks", blocks)):
        if not count:
            with pytest.raises(InvalidValue, match=f"denoise_at: 'blocks' is not valid; expected 'stages': {arch} "):
                build_model(arch, "bn", width=width, denoise="dot", denoise_at="blocks")
            continue
        model = build_model(arch, "bn", width=width, seed=3, denoise="dot", denoise_at=at).eval()  # type: ignore[arg-type]
        assert sum(isinstance(module, DenoisingBlock) for module in model.modules()) == count
        state = model.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in plain.state_dict().items())
        path = plain.space.sample(stream(2))
        assert torch.equal(model.on(path)(x), plain.on(path)(x))


def test_after_the_last_convolution_of_a_vggs_stage_and_before_its_pool() -> None:
    names = [name for name, _ in build_model("vgg11", "bn", width=4).network[1].features.named_children()]
    assert names[:6] == ["0", "1", "2", "end3", "3", "4"]
    assert [name for name in names if name.isdigit()] == list(map(str, range(29)))  # as without those


def test_on_or_off_is_a_choice_and_the_rest_of_a_path() -> None:
    x = torch.rand(4, 3, 16, 16, generator=stream(1), dtype=torch.float64)
    model = build_model("resnet18", "bn+in", width=4, denoise="none+gaussian", seed=1).double().eval()
    plain = build_model("resnet18", "bn+in", width=4, seed=1).double().eval()
    for module in (model, plain):
        nn.init.normal_(module.network[1].linear.weight, generator=stream(0))
    for layer in model.modules():
        if isinstance(layer, DenoisingBlock):
            nn.init.ones_(layer.after.norm.weight)
    assert model.space.count == 2**24
    off = Path.of(*(0 for _ in model.space.layers))
    on = Path.of(*(int("gaussian" in names) for names in model.space.options))
    assert torch.equal(model.on(off)(x), plain.on(Path.of(*[0] * 20))(x))
    assert not torch.allclose(model.on(on)(x), model.on(off)(x))
    path = model.space.sample(stream(3), 4)
    alone = torch.cat([model.on(Path((row,)))(x[k:k + 1]) for k, row in enumerate(path.rows)])
    torch.testing.assert_close(model.on(path)(x), alone, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(frozen(model, on)(x), model.on(on)(x))


def test_running_statistics_of_a_block_that_no_image_takes_stand_still() -> None:
    model = build_model("resnet18", "in", width=4, denoise="none+mean")
    x, moved = torch.rand(4, 3, 16, 16, generator=stream(1)), []
    for row in ((0, 0, 0, 0), (1, 0, 0, 0)):
        rows = Path(torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], row]))
        logits = model.on(rows)(x)
        logits.sum().backward()
        moved.append([int(norm.num_batches_tracked) for norm in norm_layers(model).values()
                      if hasattr(norm, "num_batches_tracked")])
    assert moved == [[0, 0, 0, 0], [1, 0, 0, 0]]


def test_networks_without_stages_and_what_is_no_denoiser_are_told_in_a_line() -> None:
    with pytest.raises(InvalidValue, match=r"denoise: 'mean' is not valid; expected 'none': lenet5 has no stages"):
        build_model("lenet5", "none", denoise="mean")
    with pytest.raises(InvalidValue, match=r"'gausian' is none of them\); did you mean 'gaussian'\?"):
        build_model("resnet18", denoise="gausian")
