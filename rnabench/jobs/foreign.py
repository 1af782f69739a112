"""Anybody's network as what is attacked."""

from __future__ import annotations

import hashlib

import torch

from rnabench.errors import InvalidValue
from rnabench.evaluation.defence import ForeignModel, import_model, logits_sha256, source_sha256
from rnabench.jobs.evaluate import Target, open_data
from rnabench.model.classifier import in_mode
from rnabench.runtime.device import find_device, number_formats
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings


def load_foreign(reference: str, keys: DataSettings, evaluation: EvaluationSettings, device_name: str) -> Target:
    """Anybody's network, `package.module:factory` or a registered name; a change of its code makes it another one.

    Raises ModelError, and the errors of the data set.
    """
    device = find_device(device_name)
    data = open_data(keys, evaluation, device)
    network = import_model(reference).to(device)
    first = next(data.source.in_order(min(8, evaluation.batch_size)))
    with number_formats(evaluation.precision, device), in_mode(network, training=False):
        model = ForeignModel(network, first.images, len(data.classes), bf16=evaluation.precision == "bf16").eval()
        logits = logits_sha256(model, next(data.source.in_order(evaluation.batch_size)))
    if model.space.is_random and evaluation.granularity == "sample":
        raise InvalidValue("--granularity", "sample", "'batch' for a --model that draws its random numbers itself")
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else
                      str(tensor.item()).encode())
    description = {"label": reference, "digest": None, "weights_sha256": weights.hexdigest(),
                   "code": {"logits_sha256": logits, "source_sha256": source_sha256(network, reference)},
                   "randomised": model.space.is_random, "batch_dependent": model.batch_dependent,
                   "replayable": model.replayable,
                   "differentiable": model.differentiable}
    return Target(model, model, data, description, device)
