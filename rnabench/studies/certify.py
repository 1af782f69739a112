"""Randomised smoothing's certificates (Cohen, Rosenfeld and Kolter, ICML 2019): within which radius a prediction by
vote under Gaussian noise cannot change."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator

from rnabench.report.figure import COLOURS, STYLES, TITLE, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import described, setting
from rnabench.settings.pixels import WrittenBy
from rnabench.settings.studies import Record, Results, Study, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work


def _radii(value: Any) -> Any:
    """`0,0.25,0.5` as numbers."""
    try:
        numbers = [float(each) for each in (value.split(",") if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or sorted(set(numbers)) != numbers or not 0 <= numbers[0] <= numbers[-1] < 1000:
        raise ValueError("expected growing lengths from 0 on, such as 0,0.25,0.5")
    return tuple(numbers)


Radii = Annotated[tuple[float, ...], BeforeValidator(_radii), WrittenBy(
    lambda values: ",".join(f"{value:g}" for value in values)), described(
    "Euclidean radii in pixel units at which certified accuracy is reported.", "Attack")]


@study
class Certify(Study):
    """Certified accuracy of randomised smoothing by Euclidean radius (Cohen et al., 2019)."""

    name = "certify"
    title = "Certified accuracy"
    accuracy_by = ("model", "radius")
    legend = """\
Randomised smoothing: the prediction is the class that the network chooses most often under Gaussian noise of deviation
**sigma** at its input. A class is guessed from the first draws; a lower bound p of its probability (Clopper-Pearson,
which fails with probability alpha, image by image) gives the Euclidean radius sigma Phi^-1(p) within which no change of
the image changes the prediction. Where p is not above 1/2 there is no prediction (**abstained**). **certified
accuracy**: the share of images that are predicted right with at least that radius; at 0, that are predicted right.
**average radius**: over images, 0 where the prediction is wrong. **at most**: the radius of an image of which all draws
agree; beyond it so many draws can certify nothing, and there is no number. Intervals of 95 % count images."""

    unused: ClassVar[tuple[str, ...]] = ("norm", "eps", "step_size")
    first_draws: int = setting(100, "Draws of noise that choose the class.", "Attack", strict=True, ge=1, le=10**6)
    draws: int = setting(1000, "Other draws, that bound its probability; the paper has 100,000.", "Attack", strict=True,
                         ge=1, le=10**6)
    alpha: float = setting(0.001, "Probability that an image's certificate is wrong.", "Attack", gt=0, lt=0.5)
    radii: Radii = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)

    @property
    def of_paths(self) -> bool:
        return True

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        return 0.0, self.first_draws + self.draws

    def check_network(self, label: str, network: Any) -> None:
        from rnabench.studies.measure.certify import sigma_of

        super().check_network(label, network)
        sigma_of(label, network)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        import numpy as np

        from rnabench.scoring.certificate import ABSTAINED, certify, largest_radius
        from rnabench.scoring.interval import accuracy_interval, mean_interval
        from rnabench.studies.measure.certify import class_counts, sigma_of
        from rnabench.studies.measure.work import short

        def share(which: Any) -> dict[str, Any]:
            return {"accuracy": float(which.mean()), "interval95": list(accuracy_interval(which[:, None]))}

        def within(interval: Any, most: float) -> list[float]:
            """A mean and its limits, which no mean of radii leaves."""
            limits: list[float] = np.clip(interval, 0.0, most).tolist()
            return limits

        found = []
        for label, network in networks:
            sigma = sigma_of(label, network)
            counted = class_counts(network, classes, self.first_draws, self.draws, self.seed, work, label)
            made, labels = certify(counted["first"], counted["counts"], sigma, self.alpha), counted["labels"]
            most = largest_radius(self.draws, sigma, self.alpha)
            right = made.predicted == labels
            found.append({
                "label": label, "sigma": sigma, "largest_radius": most,
                "certified": [{"radius": radius} | share(made.correct_at(labels, radius)) for radius in self.radii],
                "abstained": share(made.predicted == ABSTAINED),
                "average_radius": within(mean_interval(np.where(right, made.radius, 0.0)), most),
                "predicted": made.predicted.tolist(), "right": right.astype(int).tolist(),
                "radius": short(made.radius),
            })
        return {"networks": found}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [{"model": network["label"], "sigma": network["sigma"], "radius": cell["radius"],
                 "accuracy": cell["accuracy"], **dict(zip(("low95", "high95"), cell["interval95"], strict=True)),
                 "abstained": network["abstained"]["accuracy"]}
                for network in record["results"]["networks"] for cell in _measured(network)]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        networks = record["results"]["networks"]
        cells = list(zip(*(network["certified"] for network in networks), strict=True))
        keys = record["keys"]
        return [
            (f"Certified accuracy by radius, % ({keys['draws']:,} draws, alpha {keys['alpha']:g})",
             ["radius", *(network["label"] for network in networks)],
             [[f"{row[0]['radius']:g}", *(with_interval(cell["accuracy"], cell["interval95"])
                                          if cell in _measured(network) else "-"
                                          for cell, network in zip(row, networks, strict=True))] for row in cells]),
            ("Networks", ["network", "sigma", "abstained % [95 %]", "average radius [95 %]", "at most"],
             [[network["label"], f"{network['sigma']:g}", with_interval(*network["abstained"].values()),
               "{:.3f} [{}, {}]".format(network["average_radius"][0], *(
                   "-" if limit is None else f"{limit:.3f}" for limit in network["average_radius"][1:])),
               f"{network['largest_radius']:.3f}"] for network in networks])]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        return [f"{network['label']}: by vote under noise of sigma {network['sigma']:g} right on "
                f"{with_interval(cell['accuracy'], cell['interval95'])} % with a certified radius of at least "
                f"{cell['radius']:g}; no prediction on {100 * network['abstained']['accuracy']:.1f} %."
                for network in record["results"]["networks"] for cell in network["certified"][:1]]

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        import numpy as np

        figure, axes = new_figure(6.4, 4.2)
        for place, network in enumerate(record["results"]["networks"]):
            colour = COLOURS[place % len(COLOURS)]
            right = np.array(network["right"], dtype=bool)
            reached = np.sort(np.array(network["radius"])[right])  # the curve falls where an image's radius ends
            share = 100 * np.arange(len(reached), -1, -1) / len(right)
            end = max(*reached, *record["keys"]["radii"])
            axes.step([0.0, *reached, end], [*share, share[-1]], where="post", color=colour,
                      linestyle=STYLES[place % len(STYLES)], label=f"{network['label']} (sigma {network['sigma']:g})")
            for cell in _measured(network):
                axes.vlines(cell["radius"] + 0.005 * end * place, *(100 * limit for limit in cell["interval95"]),
                            color=colour, alpha=0.5)
        plain(axes)
        axes.set_xlabel("Euclidean radius (pixel units)")
        axes.set_ylabel("certified accuracy (%)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, frameon=False)
        axes.set_title("\n".join([f"{cls.title} (bars: 95 %)", *wrap(caption(record), 95)]), **TITLE)
        return {"": figure}


def _measured(network: dict[str, Any]) -> list[dict[str, Any]]:
    """Certified accuracy at the radii that so many draws can certify."""
    return [cell for cell in network["certified"] if cell["radius"] <= network["largest_radius"]]
