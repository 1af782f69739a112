"""What work is counted, and what is not."""

from __future__ import annotations

import torch
from torch import nn

from rnabench.attack.estimators import OnePath, frozen_parameters
from rnabench.model.factory import build_model
from rnabench.norm.layers import frozen_statistics
from rnabench.runtime.rate import Arithmetic, matrix_rate, seconds, work_of


def test_a_product_has_two_operations_for_each_multiplication_and_views_are_no_work() -> None:
    left, right = torch.rand(3, 5), torch.rand(7, 5)
    work = work_of(lambda: (left @ right.T).view(21)[2:].unsqueeze(0))
    assert (work.flops, work.launches) == (2 * 3 * 5 * 7, 1)


def test_a_gradient_of_the_input_takes_twice_the_products_of_a_forward_pass() -> None:
    """One product more, by the weights; those of the weights themselves are not made for frozen parameters."""
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False).requires_grad_(False)
    x = torch.rand(2, 4, 8, 8)

    def gradient() -> object:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(conv(leaf).sum(), leaf)

    forward = work_of(lambda: conv(x)).flops
    assert forward == 2 * x.numel() * 4 * 9
    assert work_of(gradient).flops == 2 * forward


def calls(space: str, rows: int = 1) -> int:
    """What one input gradient of a ResNet-18 in eval mode asks for."""
    model = build_model("resnet18", space, width=16).eval()
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    estimator = OnePath(model, model.space.sample(torch.Generator().manual_seed(0), rows))
    with frozen_parameters(model), frozen_statistics(model):
        estimator.gradient(images, labels)  # the first pass also works out what all of them share
        return work_of(lambda: estimator.gradient(images, labels)).launches


def test_normalisers_do_not_multiply_the_calls_of_a_gradient() -> None:
    """On a GPU each is a launch, and small networks wait for nothing else. An IN layer is 21 calls with its gradient
    where torch's BN is 2; a path of bn+in has half of each."""
    plain = calls("bn")
    assert calls("in") <= 4 * plain
    assert calls("bn+in") <= 2.5 * plain
    assert calls("bn+in", rows=4) <= 8.5 * plain
    assert calls("gn[1-16]", rows=4) <= 1.1 * calls("bn+in", rows=4)


def test_the_rate_of_a_product_is_that_of_the_clock() -> None:
    device = torch.device("cpu")
    rate = matrix_rate(device, "fp32", 2)
    taken = min(seconds(lambda: torch.rand(512, 512) @ torch.rand(512, 512), device) for _ in range(2))
    assert rate > 0.2 * 2 * 512**3 / taken


def test_a_share_is_told_of_a_gpu_alone() -> None:
    assert Arithmetic(2e9, 1e14).share(5000) == "10 TFLOP/s, 10.0% of a matrix product's"
    assert Arithmetic.on(torch.device("cpu"), "fp32", 2e6, 2).share(5000) == "10 GFLOP/s"
