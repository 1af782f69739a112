"""What is compiled is looked at before it trains."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx

from rnabench.errors import NumericalError
from rnabench.model.factory import build_model
from rnabench.training.compiled import check_compiled


def compiled(backend: object, space: str = "bn+in", granularity: str = "batch") -> torch.nn.Module:
    model = build_model("resnet18", space, width=2, granularity=granularity)
    model.network.compile(backend=backend, dynamic=False)
    model.tensor_paths = True
    return model


def forgetful(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
    """A compiler that lets one weight go without a gradient."""
    last = max((place for place, each in enumerate(inputs) if each.dim() == 4 and each.shape[-1] == 3), default=None)
    return lambda *given: graph(*[each.detach() if place == last else each for place, each in enumerate(given)])


def failing(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
    raise RuntimeError("no C++ compiler")


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["batch", "sample"])
def test_a_compiled_network_agrees_and_is_left_as_it_was(granularity: str) -> None:
    model = compiled("aot_eager", granularity=granularity)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_compiled(model, 4, 16)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(each.grad is None and each.requires_grad for each in model.parameters())


@pytest.mark.parametrize(("backend", "said"), [(forgetful, "of .* tensors are zeros"), (failing, "cannot compile")])
def test_another_is_refused(backend: object, said: str) -> None:
    without = "do without --compile .compile: false in a recipe."
    with pytest.raises(NumericalError, match=f"^--compile: torch .*{said}.*; {without}$"):
        check_compiled(compiled(backend, "bn"), 4, 16)
