"""Anybody's network by name: its factory is imported and called, and its weights are filled in."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from rnabench.defence.foreign import one_line
from rnabench.defence.weights import fill
from rnabench.errors import InvalidValue, ModelError, one_of
from rnabench.settings.imported import TYPED, Imported, Words
from rnabench.settings.registry import Registry

Factory = Callable[..., nn.Module]
DEFENCES: Registry[Factory] = Registry("--model", "rnabench.defence", "rnabench.defences")
"""Functions that return a trained network, from [0, 1] images [N, 3, H, W] to logits [N, classes]; where its random
numbers may come from stands in `rnabench.defence.randomness`."""


def import_model(imported: Imported | str, words: Words = TYPED) -> nn.Module:
    """The network of a registered defence, or what `package.module:factory` (looked up from the working directory too)
    returns for its arguments, with its weights: a torch module, in eval mode. `words`: how errors call what is wrong.

    Raises InvalidValue for another form or name, or for arguments that the factory does not take; ModelError.
    """
    imported = Imported.of(imported) if isinstance(imported, str) else imported
    reference = imported.reference
    try:
        factory = _factory(reference, words)
    except InvalidValue:
        raise
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise ModelError(f"{words.reference}: {reference!r} failed with {one_line(error)}; expected "
                         "package.module:factory, a callable that returns a torch module") from error
    _check_arguments(factory, imported.args, reference, words)
    try:
        network = factory(**imported.args)
    except (Exception, SystemExit) as error:
        called = f" with {', '.join(imported.args)}" if imported.args else ""
        raise ModelError(f"{words.reference}: {reference!r}, called{called}, failed with {one_line(error)}; expected "
                         "a callable that returns a torch module") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{words.reference}: {reference!r} returned {type(network).__name__}; expected a "
                         "torch.nn.Module")
    if imported.weights is not None:
        fill(network, imported.weights, words.weights)
    network.eval()  # which one of its own may return something else from
    return network


def home_of(reference: str) -> str:
    """The name of the module that a factory is in."""
    module_name, colon, _ = reference.partition(":")
    return module_name if colon else DEFENCES[reference].__module__


def _factory(reference: str, words: Words) -> Factory:
    module_name, colon, factory_name = reference.partition(":")
    if not colon and reference in DEFENCES:
        return DEFENCES[reference]
    if not module_name or not factory_name:
        names = f", or a registered name, {one_of(DEFENCES)}" if list(DEFENCES) else ""
        raise InvalidValue(words.reference, reference, f"package.module:factory{names}", DEFENCES)
    file = Path(module_name)
    if len(file.parts) > 1 or file.is_file():
        raise InvalidValue(words.reference, reference, "a module's name, not a file's: "
                           f"{file.stem}:{factory_name}, from the folder that it is in")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = importlib.import_module(module_name)
    factory: Factory | None = getattr(module, factory_name, None)
    if not callable(factory):
        callables = [f"{module_name}:{name}" for name in dir(module) if callable(getattr(module, name, None))]
        raise InvalidValue(words.reference, reference, f"a callable of {module_name} that returns a torch module",
                           callables)
    return factory


def _check_arguments(factory: Factory, args: Mapping[str, Any], reference: str, words: Words) -> None:
    """Raises InvalidValue for arguments that are missing or that the factory does not have."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # of compiled code nobody knows
        return
    if any(each.kind is each.POSITIONAL_ONLY and each.default is each.empty for each in parameters):
        return  # it says itself what is wrong
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    names = [each.name for each in named]
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        for name in args:
            if name not in names:
                takes = one_of(names) if names else f"none: {reference} takes no arguments"
                raise InvalidValue(words.arguments, name, takes, names)
    missing = [each.name for each in named if each.default is each.empty and each.name not in args]
    if missing:
        raise InvalidValue(words.arguments, None, f"{', '.join(missing)}, which {reference} needs: "
                           + (" ".join(f"{words.arguments} {name}=VALUE" for name in missing) if words is TYPED else
                              f"{{{', '.join(f'{name}: VALUE' for name in missing)}}}"))
