"""A study: one class with its settings, what it measures, its rows and figure. `rnabench confidence` does it."""

from typing import Any

from rnabench.report.figure import new_figure
from rnabench.settings.base import setting
from rnabench.settings.studies import Record, Results, Study, study


@study
class Confidence(Study):
    """How sure each network is of its answers on clean images."""
    name = "confidence"
    title = "Confidence"
    legend = "**confidence**: the largest class probability on a random path; mean over images and its standard error."
    temperature: float = setting(1.0, "Divides the logits.", "Network", gt=0)

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        return 0.0, 1.0  # gradients and forward passes, per image and network

    def compute(self, networks: Any, classes: int, work: Any) -> Results:
        from rnabench.seeding import stream
        from rnabench.studies.measure.work import spread

        def sure(network: Any) -> Any:
            view = network.on(network.space.sample(stream(self.seed, "confidence")))
            return lambda batch, _: {"sure": (view(batch.images) / self.temperature).softmax(1).amax(1).cpu().numpy()}
        return {label: spread(work(label, sure(network))["sure"]) for label, network in networks}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [{"model": label, "confidence": found["mean"], "error": found["error"]}
                for label, found in record["results"].items()]

    @classmethod
    def figures(cls, record: Record) -> dict[str, Any]:
        figure, axes = new_figure(4, 3)
        axes.bar(list(record["results"]), [row["confidence"] for row in cls.rows(record)])
        return {"": figure}
