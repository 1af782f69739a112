"""A compiled network has the gradients of the plain one, in training mode and with the shapes of its training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.attack.estimators import frozen_parameters
from rnabench.model.classifier import RandomizedClassifier, in_mode
from rnabench.norm.layers import frozen_statistics
from rnabench.path.choice import use_path
from rnabench.runtime.agreement import check_agreement, refusing
from rnabench.seeding import stream
from rnabench.settings.base import Precision

ROUNDING: dict[Precision, float] = {"fp32": 0.01, "tf32": 0.1, "bf16": 0.3}  # share of a gradient's norm


def check_compiled(model: RandomizedClassifier, images: int, side: int) -> None:
    """As a training goes: images' gradients with parameters and statistics frozen, then the parameters' own; on two
    paths, for so many `images` of noise of `side` pixels. The network is left as it was, and what has been compiled
    serves the training.

    Raises NumericalError where torch cannot compile the network, or its gradients are others then (torch 2.11 took
    what it had compiled for an attack, so that some weights had none).
    """
    device = next(model.parameters()).device
    noise = stream(0, "compile check")
    x = torch.rand(images, 3, side, side, generator=noise).to(device, memory_format=torch.channels_last)
    labels = torch.arange(images, device=device) % 2
    rows = images if model.granularity == "sample" else 1
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        for _ in range(2):
            path = model.space.sample(noise, rows)
            with in_mode(model, training=True), use_path(model, path, as_tensor=True):
                with torch.compiler.set_stance("force_eager"):
                    plain = _gradients(model, x, labels)
                with refusing("--compile", "compile this network"):
                    ours = _gradients(model, x, labels)
                check_agreement("--compile", plain, ours, ROUNDING[model.precision])
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(kept[name])


def _gradients(model: RandomizedClassifier, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Of the mean loss: by the images, then by every parameter."""
    with frozen_parameters(model), frozen_statistics(model):
        leaf = images.clone().requires_grad_()
        (of_images,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels), leaf)
    parameters = [each for each in model.parameters() if each.requires_grad]
    own = torch.autograd.grad(F.cross_entropy(model(images), labels), parameters, allow_unused=True,
                              materialize_grads=True)
    return [of_images, *own]
