"""A network as a maker of features: what comes before its linear classifier."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier


def without_classifier(label: str, model: RandomizedClassifier, images: Tensor) -> tuple[RandomizedClassifier, int]:
    """A copy of a network in evaluation mode that ends before its classifier, [0, 1] images [N, 3, H, W] to features
    [N, D], and D.

    The classifier is the linear layer whose output is the network's. No name is needed for that, so it is found in any
    architecture; `images`, one is enough, are what it is asked with. Raises InvalidValue for a network that does not
    end with such a layer, or that cannot take images of this size.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []
    hooks = [module.register_forward_hook(lambda module, _, output: outputs.append((module, output)))
             for module in model.modules() if isinstance(module, nn.Linear)]
    try:
        with torch.no_grad():
            logits = model(images)
    except RuntimeError as error:
        size = "x".join(map(str, images.shape[2:]))
        raise InvalidValue("--dataset", f"{size} pixels", f"images of a size that {label} takes "
                           f"({str(error).splitlines()[0]})") from None
    finally:
        for hook in hooks:
            hook.remove()
    last = next((module for module, output in outputs if output is logits), None)
    if not isinstance(last, nn.Linear) or [module for module, _ in outputs].count(last) != 1:
        raise InvalidValue("RUN", label, "a network whose last layer is linear, and used once")
    backbone = copy.deepcopy(model)
    backbone.set_submodule(next(name for name, module in model.named_modules() if module is last), nn.Identity())
    return backbone, last.in_features
