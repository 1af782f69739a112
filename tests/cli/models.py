"""Networks that a user might hand over with --model, most of them wrong."""

from __future__ import annotations

import torch

from tests.helpers import Lambda


def images_back() -> Lambda:
    return Lambda(lambda x: x)


def not_a_number() -> Lambda:
    return Lambda(lambda x: torch.full((len(x), 10), float("nan"), device=x.device))


def seven_classes() -> Lambda:
    return Lambda(lambda x: torch.zeros(len(x), 7, device=x.device))


def without_gradient() -> Lambda:
    return Lambda(lambda x: torch.nn.functional.one_hot(x.flatten(1).argmax(1) % 10, 10).float())


def leaves() -> Lambda:
    raise SystemExit(0)


def fails() -> Lambda:
    def forward(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("on\ntwo lines")

    return Lambda(forward)


def noisy() -> Lambda:
    return Lambda(lambda x: x.flatten(1)[:, :10] + torch.randn(len(x), 10, device=x.device))


def noisier(deviation: float) -> Lambda:
    return Lambda(lambda x: x.flatten(1)[:, :10] + deviation * torch.randn(len(x), 10, device=x.device))


def linear() -> Lambda:
    weight = torch.randn(3 * 32 * 32, 10, generator=torch.Generator().manual_seed(0)) / 50
    return Lambda(lambda x: x.flatten(1) @ weight.to(x.device))
