"""Channels-last stays channels-last through every normaliser, forward and backward: a copy per layer would cost more
than the layer."""

from __future__ import annotations

import pytest
import torch

from rnabench.model.normalizers import norm_factory
from rnabench.path.choice import use_path
from rnabench.path.path import Path
from rnabench.settings.spaces import parse_space


@pytest.mark.parametrize("space", ["bn+in", "gn4+bgn4", "ln+in", "robust+bn-batch", "robust-running+mbn"])
@pytest.mark.parametrize("path", [Path.of(0), Path.of(1), Path(((0,), (1,), (0,)))], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_channels_last_is_kept(space: str, path: Path, training: bool) -> None:
    norm = norm_factory(parse_space(space))(8).train(training)
    x = torch.rand(3, 8, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    with use_path(norm, path):
        out = norm(x)
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous(memory_format=torch.channels_last)
