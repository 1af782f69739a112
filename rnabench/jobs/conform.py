"""Whether anybody's network can be judged: imported, looked at on a few images, and told in a line for each check."""

from __future__ import annotations

from rnabench.evaluation.conformance import Candidate, Finding, conformance
from rnabench.jobs.foreign import adopt
from rnabench.jobs.target import open_data
from rnabench.model.classifier import in_mode
from rnabench.runtime.device import find_device, number_formats
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.imported import Imported


def conform(imported: Imported, keys: DataSettings, evaluation: EvaluationSettings, device_name: str) -> list[Finding]:
    """On the first `n_examples` images of a data set, at once. Raises as `load_foreign` does."""
    device = find_device(device_name)
    data = open_data(keys, evaluation, device)
    batch = next(data.source.in_order(len(data.source)))
    found = adopt(imported, batch.images, len(data.classes), evaluation.precision)
    with number_formats(evaluation.precision, device), in_mode(found.network, training=False):
        return conformance(Candidate(found.network, found.classifier, found.seen, batch, len(data.classes),
                                     (data.mean, data.std), evaluation.seed))
