"""What a network does inside its forward, besides mapping images to logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

ENGINE = "_engine_run_backward"  # what torch.autograd.grad, backward and Tensor.backward all call
PUBLIC = ("grad", "backward")


@dataclass
class Inside:
    """`gradients`: how often a gradient was asked for; `steps`: of optimisers; `passes`: how many images went through
    the busiest layer that has weights, None of a network that has no such layers."""

    gradients: int = 0
    steps: int = 0
    images_through: Counter[str] = field(default_factory=Counter)

    @property
    def passes(self) -> int | None:
        return max(self.images_through.values(), default=None)


@contextmanager
def watched(network: nn.Module) -> Iterator[Inside]:
    """What happens in the forwards of a network inside the block."""
    inside = Inside()

    def asked(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            inside.gradients += 1
            return call(*arguments, **more)
        return counted

    def stepped(*_: object) -> None:
        inside.steps += 1

    with ExitStack() as stack:
        for name in (ENGINE,) if hasattr(torch.autograd, ENGINE) else PUBLIC:
            stack.callback(setattr, torch.autograd, name, call := getattr(torch.autograd, name))
            setattr(torch.autograd, name, asked(call))
        stack.callback(register_optimizer_step_pre_hook(stepped).remove)
        for name, layer in network.named_modules():
            if any(True for _ in layer.parameters(recurse=False)):
                stack.callback(layer.register_forward_pre_hook(_counting(inside.images_through, name)).remove)
        yield inside


def _counting(images_through: Counter[str], name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def count(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        images_through[name] += len(arguments[0]) if arguments and isinstance(arguments[0], Tensor) and (
            arguments[0].dim()) else 0
    return count
