"""Whose batch statistics a frozen network normalises by on another data set (RobustNorm's Table 5 and Figure 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from rnabench.report.figure import COLOURS, STYLES, TITLE, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import setting
from rnabench.settings.studies import Probing, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

Arm = Literal["source", "recomputed", "affine", "recomputed+affine"]
ARMS: tuple[Arm, ...] = ("source", "recomputed", "affine", "recomputed+affine")
SAID = {"source": "with the source's statistics", "recomputed": "with recomputed ones",
        "affine": "with the source's and a trained scale and shift",
        "recomputed+affine": "with recomputed ones and a trained scale and shift (the paper's updated BN)"}


@study
class StatisticsTransfer(Probing):
    """Train a linear classifier on a frozen network for another data set, by batch statistics of the network's own data
    and of that one (RobustNorm's Table 5 and Figure 4).

    Muhammad, Shamshad and Bae, "Adversarial Attacks and Batch Normalization: A Batch Statistics Perspective" (2023).
    The paper's updated network has new statistics and a new scale and shift at once; here each has an arm of its own.
    """

    name = "statistics-transfer"
    title = "Transfer of statistics"
    accuracy_by = ("model", "arm")
    legend = """\
A linear classifier, trained on the training images while all convolutions stand still. **source**: the batch
normalisations keep the mean and variance of the network's own training images. **recomputed**: those of the new
training images, without augmentation, in one pass of mixed batches, each normalised by its own statistics; exact over
all of them by the law of total variance. **affine**: the source's statistics, and the normalisations' scale and shift
are trained with the classifier. **recomputed+affine**: both, which is the paper's "updated". The input normalisation
stays the source's. **accuracy**: on the test images after the last epoch; images count as samples in the 95 % interval.
**gain**: over `source`, on the same images. All arms of a network start from the same classifier and meet the same
batches; how much another start or order would change is not in the intervals. **training**: accuracy on the training
images during the last epoch."""

    unused: ClassVar[tuple[str, ...]] = ("norm", "eps", "step_size")
    arms: tuple[Arm, ...] = setting(ARMS, "What is done to the network: source, recomputed, affine (each epoch then "
                                    "goes through the network), recomputed+affine.", "Network")

    @field_validator("arms")
    @classmethod
    def _each_once(cls, values: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if not values or len(set(values)) < len(values):
            raise ValueError("expected one arm or more, each once")
        return tuple(arm for arm in ARMS if arm in values)

    @property
    def of_one_path(self) -> bool:
        return True

    def check_network(self, label: str, network: Any) -> None:
        from rnabench.errors import InvalidValue
        from rnabench.norm.population import batch_norms, has_other_batch_statistics

        super().check_network(label, network)
        if not batch_norms(network) or has_other_batch_statistics(network):
            raise InvalidValue("RUN", label, "a network with batch normalisations (bn, bgn), whose running mean and "
                               "variance alone are of batches")

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        tuned = sum("affine" in arm for arm in self.arms)
        return 0.0, len(self.arms) - tuned + tuned * self.epochs

    def training_passes(self) -> tuple[float, float]:
        tuned = sum("affine" in arm for arm in self.arms)
        fixed = (len(self.arms) - tuned) * (self.epochs if self.augment else 1)
        return tuned * self.epochs, fixed + any("recomputed" in arm for arm in self.arms)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.norm.population import batch_norms
        from rnabench.scoring.interval import accuracy_interval, difference_interval
        from rnabench.scoring.outcome import bits
        from rnabench.studies.measure.statistics_transfer import NetworkArms

        assert work.training is not None
        results = []
        for network in [NetworkArms(label, model, classes, self, work) for label, model in networks]:
            measured = {arm: network.measure(arm) for arm in self.arms}
            source = measured.get("source")
            arms = [{
                "arm": arm, "accuracy": float(found.right.mean()),
                **dict(zip(("low95", "high95"), accuracy_interval(found.right[:, None]), strict=True)),
                "gain": None if source is None or arm == "source" else list(
                    difference_interval(found.right[:, None], source.right[:, None])),
                "trained": found.trained,
                "curve": dict(zip(("loss", "training", "test"), found.curve.T.tolist(), strict=True)),
                "outcomes": bits(found.right),
            } for arm, found in measured.items()]
            results.append({"label": network.label, "batch_norms": len(batch_norms(network.backbone)),
                            "features": network.width, "arms": arms})
        side = next(work.source.in_order(1)).images.shape[-1]
        return {"training": {"images": len(work.training.plain), "fingerprint": work.training.fingerprint,
                             "side": side}, "networks": results}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [
            {"model": network["label"], "arm": arm["arm"], **{name: arm[name] for name in
                                                              ("accuracy", "low95", "high95")},
             **dict(zip(("gain", "gain_low95", "gain_high95"), arm["gain"] or [None] * 3, strict=True)),
             "training": arm["curve"]["training"][-1], "trained": arm["trained"], "epochs": len(arm["curve"]["test"])}
            for network in record["results"]["networks"] for arm in network["arms"]]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        lines = [[f"{network['label']}: {arm['arm']}", with_interval(arm["accuracy"], [arm["low95"], arm["high95"]]),
                  _gain(arm), f"{100 * arm['curve']['training'][-1]:.1f}", f"{arm['trained']:,}"]
                 for network in record["results"]["networks"] for arm in network["arms"]]
        return [("Linear classifiers", ["network: arm", "accuracy % [95 %]", "gain, points [95 %]", "training %",
                             "trained parameters"], lines)]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        return [f"{network['label']}: " + ", ".join(
            f"{with_interval(arm['accuracy'], [arm['low95'], arm['high95']])} % {SAID[arm['arm']]}"
            for arm in network["arms"]) + "." for network in record["results"]["networks"]]

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        """Accuracy on the test images by epoch, a panel for each network."""
        networks, training = record["results"]["networks"], record["results"]["training"]
        columns = min(len(networks), 3)
        rows = -(-len(networks) // columns)
        figure, grid = new_figure(max(5.6, 3.6 * columns), 1.0 + 3.0 * rows, rows, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(networks):]:
            axes.set_visible(False)
        for axes, network in zip(grid.flat, networks, strict=False):
            for arm in network["arms"]:
                number, curve = ARMS.index(arm["arm"]), arm["curve"]["test"]
                colour, last = COLOURS[number], 100 * arm["accuracy"]
                axes.plot(range(1, len(curve) + 1), [100 * each for each in curve], STYLES[number], color=colour,
                          linewidth=1.6, label=arm["arm"])
                beside = len(curve) * (1 + 0.02 * (number + 1))  # so that no interval hides another
                axes.errorbar([beside], [last], [[last - 100 * arm["low95"]], [100 * arm["high95"] - last]],
                              fmt="o", markersize=4, capsize=3, color=colour)
            axes.set_title(network["label"], **TITLE)
            axes.set_xlabel("epoch")
            plain(axes)
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy on test images (%)")
        figure.suptitle(f"{cls.title}: linear classifiers on {training['images']:,} training images\n"
                        f"{caption(record)}\nbehind the last epoch: 95 % intervals over images", fontsize=9,
                        x=0.01, ha="left")
        figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8,
                      frameon=False)
        return {"": figure}


def _gain(arm: dict[str, Any]) -> str:
    return "-" if arm["gain"] is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * each for each in arm["gain"]))
