"""What a study looks at: a network as it is deployed, or held on one of its paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnabench.attack.estimators import frozen_parameters
from rnabench.defence.defence import Defence, Draws, batch_dependent
from rnabench.defence.foreign import Classifier
from rnabench.errors import InvalidValue
from rnabench.model.classifier import in_mode
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import frozen_statistics
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.scoring.interval import Groups
from rnabench.seeding import ExampleStreams, stream
from rnabench.settings.studies import Results

Networks = Sequence[tuple[str, Classifier]]
"""With their labels."""


@dataclass(frozen=True)
class Subject:
    """A labelled network; `path` is the one that `defence` is held on, None if it draws (or has only one)."""

    label: str
    model: Classifier
    defence: Defence
    path: Path | None = None

    @property
    def is_random(self) -> bool:
        return self.defence.space.is_random

    @property
    def batch_dependent(self) -> bool:
        """Whether its predictions depend on batch mates."""
        return batch_dependent(self.defence)

    @property
    def paths(self) -> PathSpace:
        """The paths through its choice layers. Raises InvalidValue for a network that has draws, but no such layers."""
        if not isinstance(self.model.space, PathSpace):
            raise InvalidValue("RUN", self.label, "a network with choice layers: this one has draws alone")
        return self.model.space

    def fixed(self) -> Path:
        """The one path of a subject that does not draw."""
        return self.defence.space.sample(torch.Generator())


@dataclass(frozen=True)
class _Only:
    """The draws of a network held on one path."""

    path: Path
    is_random: bool = False
    takes_rows: bool = True

    def sample(self, generator: torch.Generator, rows: int = 1) -> Path:
        return self.path

    def sample_each(self, streams: ExampleStreams, repeats: int = 1) -> Path:
        return self.path  # a single row serves any number of images


class Held:
    """A defence held on one (one-row) path: deterministic."""

    def __init__(self, defence: Defence, path: Path) -> None:
        self.space: Draws = _Only(path)
        self.batch_dependent = batch_dependent(defence)
        self._defence = defence

    def on(self, path: Path) -> Callable[[Tensor], Tensor]:
        return self._defence.on(path)


def held(label: str, model: Classifier, path: Path) -> Subject:
    return Subject(label, model, Held(model, path), path)


def subjects(networks: Networks, paths: str, seed: int) -> list[Subject]:
    """The networks, each randomised one split as `paths` says (see `rnabench.settings.studies.Splitting`).

    Raises InvalidValue for a network that has no path of one option throughout.
    """
    found = []
    for label, model in networks:
        if not model.space.is_random or paths == "deployed":
            found.append(Subject(label, model, model))
            continue
        if paths == "normalisers":
            chosen = model.space.uniform_paths() if isinstance(model.space, PathSpace) else {}
            if not chosen:
                raise InvalidValue("--paths", paths, f"deployed or a number: no option of {label} is in every layer")
        else:
            generator = stream(seed, "study paths")
            chosen = {f"#{number + 1}": model.space.sample(generator) for number in range(int(paths))}
        found += [held(f"{label}: {name}", model, path) for name, path in chosen.items()]
    return found


def described(subject: Subject) -> Results:
    """What a record says of it; `space`: the normalisers that the path chooses that it is held on, None if it chooses
    none."""
    path = subject.path
    chosen = subject.paths.describe(path) if path and isinstance(subject.model.space, PathSpace) else {}
    norms = [option for layer, option in chosen.items() if isinstance(subject.model.get_submodule(layer), NormChoice)]
    return {"label": subject.label, "space": "+".join(dict.fromkeys(norms)) or None,
            "path": str(path) if path else None, "draws": subject.is_random}


def together(defence: Defence, groups: Groups) -> Iterator[NDArray[np.int64]]:
    """Which images one pass may hold: all, or, of a defence that knows one draw at a time, those of a path group."""
    if defence.space.takes_rows or batch_dependent(defence):
        yield np.arange(len(groups))
    else:
        yield from (np.flatnonzero(groups == group) for group in np.unique(groups))


@contextmanager
def at_rest(models: Sequence[nn.Module]) -> Iterator[None]:
    """All models in evaluation mode, without parameter gradients or moving statistics, inside the block."""
    with ExitStack() as stack:
        for model in {id(model): model for model in models}.values():
            stack.enter_context(in_mode(model, training=False))
            stack.enter_context(frozen_parameters(model))
            stack.enter_context(frozen_statistics(model))
        yield
