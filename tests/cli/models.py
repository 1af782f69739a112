"""Networks that a user might hand over with --model, most of them wrong."""

from __future__ import annotations

import torch

from tests.helpers import Lambda


def images_back() -> Lambda:
    return Lambda(lambda x: x)


def not_a_number() -> Lambda:
    return Lambda(lambda x: torch.full((len(x), 10), float("nan")))


def seven_classes() -> Lambda:
    return Lambda(lambda x: torch.zeros(len(x), 7))


def linear() -> Lambda:
    weight = torch.randn(3 * 32 * 32, 10, generator=torch.Generator().manual_seed(0)) / 50
    return Lambda(lambda x: x.flatten(1) @ weight)
