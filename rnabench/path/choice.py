"""Layers with a place in every path; of these the choice layer: n options with one interface, one of which is used in a
forward pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, zip_longest

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.path.names import Names
from rnabench.path.path import Path


class PathNotSet(RnabenchError):
    """A choice layer was forwarded outside `use_path`, or in another thread."""


class Key:
    """Names a layer in paths by a number: a replica on another device has the same one, a deep copy one of its own."""

    def __init__(self) -> None:
        self.number = next(_numbers)

    def __deepcopy__(self, memo: object) -> Key:
        return Key()

    def __reduce__(self) -> tuple[type[Key], tuple[()]]:
        return Key, ()


_numbers = count()

Choices = dict[int, int | Tensor]
"""By the number of a layer's key, that of an option, or int64 [R] with one for each sample (or [1]).

By a number, since a network that torch 2.11 compiles takes objects of one class for the same key, in silence.
"""


class _Blocks(threading.local):
    """The `use_path` blocks that this thread is in, the innermost last: what each says to its layers."""

    def __init__(self) -> None:
        self.open: list[Choices] = []


_blocks = _Blocks()


class PathLayer(nn.Module):
    """A layer with a place in every path, where the number of one of its options stands; `names` are those of all.

    The layer itself holds no path, so that threads do not meet in it and copies of a network never have one set.
    """

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names = names
        self.key = Key()

    @property
    def current(self) -> int | Tensor | None:
        """The choice that this thread has set: the option's number for the whole batch, or an int64 tensor [N] (or [1])
        with one per sample, which makes the forward pass free of branches. None outside of `use_path`."""
        for choices in reversed(_blocks.open):
            if self.key.number in choices:
                return choices[self.key.number]
        return None

    def chosen(self) -> int | Tensor:
        """The same. Raises PathNotSet outside of `use_path`."""
        current = self.current
        if current is None:
            raise PathNotSet("a choice layer was run without a path; wrap the call in rnabench.use_path(model, path), "
                             "in the thread that makes the call")
        return current


class ChoiceLayer(PathLayer):
    """Named options, all kept and trained; `use_path` says which one a forward pass uses.

    Subclasses may override `mixed` with something cheaper than computing every option.
    """

    names: tuple[str, ...]

    def __init__(self, options: Mapping[str, nn.Module]) -> None:
        super().__init__(tuple(options))
        self.options = nn.ModuleList(options.values())

    def forward(self, x: Tensor) -> Tensor:
        current = self.chosen()
        if isinstance(current, int):
            result: Tensor = self.options[current](x)
            return result
        return self.mixed(x, current.to(x.device).expand(len(x)))

    def mixed(self, x: Tensor, choice: Tensor) -> Tensor:
        """[N, ...]: sample i of the result is option `choice[i]` applied to the batch `x`, at sample i."""
        first, *others = self.options
        result: Tensor = first(x)
        for number, option in enumerate(others, 1):
            result = torch.where((choice == number).view(-1, *[1] * (result.dim() - 1)), option(x), result)
        return result


def choose_alike(layers: Sequence[nn.Module]) -> None:
    """Make those of these modules that choose one place in a path: what it chooses there, all of them use.

    For layers of which a forward pass runs only one, such as those inside the options of another choice layer: choices
    of their own would tell paths apart that are the same network. Raises ValueError unless they have as many options.
    """
    chosen = [layer for layer in layers if isinstance(layer, PathLayer)]
    if len({len(layer.names) for layer in chosen}) > 1:
        raise ValueError("layers that choose alike have different numbers of options")
    for layer in chosen:
        layer.key = chosen[0].key


def choose_alike_within(network: nn.Module) -> None:
    """Let the options of every choice layer share the choices inside of them: the first layer that chooses inside of
    one option with the first inside of the next, and so on, among those with as many options."""
    for layer in network.modules():
        inside = [[module for module in option.modules() if isinstance(module, PathLayer)]
                  for option in layer.options] if isinstance(layer, ChoiceLayer) else []
        for size in {len(module.names) for modules in inside for module in modules}:
            alike = ([module for module in modules if len(module.names) == size] for modules in inside)
            for modules in zip_longest(*alike):
                choose_alike([module for module in modules if module is not None])


def choice_layers(network: nn.Module) -> dict[str, PathLayer]:
    """The layers of a network that choose by their module name, in the order of a path's choices; of those that choose
    alike, the first."""
    layers: dict[int, tuple[str, PathLayer]] = {}
    for name, module in network.named_modules():
        if isinstance(module, PathLayer):
            layers.setdefault(module.key.number, (name, module))
    return dict(layers.values())


@contextmanager
def use_path(network: nn.Module, path: Path, *, as_tensor: bool = False) -> Iterator[None]:
    """Run `network` on `path` inside the block, in this thread; nests, and ends with the block whatever happens.

    Threads that run one network at the same time each set a path of their own. `as_tensor` hands a one-row path to the
    layers as a tensor too, so that a compiled network has one graph for all paths. Raises InvalidValue for a path that
    does not fit the network.
    """
    with use_choices(choices_of(network, path, as_tensor=as_tensor)):
        yield


def choices_of(network: nn.Module, path: Path, *, as_tensor: bool = False) -> Choices:
    """What `path` says to the layers of `network`: worked out once, it serves any number of forward passes.

    Every layer runs one option of a one-row path whose numbers the host knows, and all options, of which each sample
    takes its own, of any other. Raises InvalidValue for a path that does not fit the network.
    """
    layers = list(choice_layers(network).values())
    _check(path, layers)
    table = path.choices
    choices: Sequence[int | Tensor]
    if path.per_sample or as_tensor or table.device.type != "cpu":
        device = next(network.parameters(), table).device  # replicas of DataParallel have none; layers move them then
        # a row for each layer, in one piece: the layers read views of it
        choices = table.to(device, non_blocking=True).T.contiguous().unbind(0)
    else:
        choices = table[0].tolist()
    return {layer.key.number: choice for layer, choice in zip(layers, choices, strict=True)}


@contextmanager
def use_choices(choices: Choices) -> Iterator[None]:
    """`use_path` for what `choices_of` returned."""
    choices = dict(choices)  # of this block alone, so that what one view says may be open twice
    blocks = _blocks.open  # this thread's, also where a generator with a block in it is closed by another thread
    blocks.append(choices)
    try:
        yield
    finally:
        blocks[:] = [other for other in blocks if other is not choices]


def _check(path: Path, layers: list[PathLayer]) -> None:
    if len(path) != len(layers):
        raise InvalidValue("path", str(path), f"{len(layers)} choices, one per choice layer of the network")
    if not layers or path.choices.device.type != "cpu":
        return  # a path on another device was drawn there, from the space of paths; looking at it would wait for it
    sizes = torch.tensor([len(layer.names) for layer in layers])
    if bool(((path.choices < 0) | (path.choices >= sizes)).any()):
        raise InvalidValue("path", str(path), f"option numbers below {sizes.tolist()}, layer by layer")
