"""Agreement between draws against robustness: what randomness costs and buys."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from rnabench.report.figure import COLOURS, MARKERS, TITLE, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import Draws, setting
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

ENDS = (0.5, 0.75, 0.999999, 1.0)  # of the classes of images, by the agreement of their draws
CLASSES = ("up to 50 %", "50 to 75 %", "75 to under 100 %", "100 %")


@study
class Agreement(Attacking):
    """How often two draws predict the same, on clean and on attacked images, beside the accuracy under attack.

    A randomised preprocessor that training has made the network invariant to (its draws agree) protects little: Gao et
    al., NeurIPS 2022. The attack averages its gradient over draws.
    """

    name = "agreement"
    title = "Agreement between draws, and robustness"
    accuracy_by = ("model", "images")
    legend = """\
**agreement**: the share of pairs of draws that predict the same class for an image, a mean over images; of a network
that draws nothing it is 100 %. **accuracy**: the mean over images and the same draws. Intervals (95 %) count images and
draws. **by the agreement on the clean image**: the images of a network in classes, and its accuracy on them under
attack: if the draws protect, they do so where they disagree."""

    attack: str | dict[str, Any] = setting("pgd10", "Attack by name, as in `rnabench attack --list`.", "Attack")
    samples: int = setting(20, "Draws that are averaged at every step (K of eot:K).", "Attack", strict=True, ge=1,
                           le=9999)
    draws: Draws = 20

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        samples, draws = (self.samples, self.draws) if layers else (0, 1)
        gradients, forwards = self.spec.parameters.passes_of(samples, classes)
        return gradients, forwards + 2 * draws

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.scoring.outcome import bits
        from rnabench.studies.measure.agreement import ATTACKED, CLEAN, predicted
        from rnabench.studies.measure.subject import subjects
        from rnabench.studies.measure.work import short

        found = []
        for subject in subjects(networks, "deployed", self.seed):
            on = predicted(subject, self.spec, self.samples, self.evaluation(draws=self.draws), classes, work)
            clean, before = on[CLEAN].by_image, -1.0
            by_class = []
            for end in ENDS:
                chosen = (clean > before) & (clean <= end)
                accuracy = on[ATTACKED].take(chosen).accuracy if chosen.any() else None
                by_class.append({"images": int(chosen.sum()), "accuracy": accuracy})
                before = end
            found.append({
                "label": subject.label, "draws": subject.is_random, "by_class": by_class,
                "on": {name: {"agreement": each.agreement, "accuracy": each.accuracy, "by_image": short(each.by_image),
                              "correct": [bits(draw) for draw in each.right.T]} for name, each in on.items()}})
        return {"networks": found}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [{"model": network["label"], "images": name,
                 **dict(zip(("agreement", "agreement_low95", "agreement_high95"), each["agreement"], strict=True)),
                 **dict(zip(("accuracy", "low95", "high95"), each["accuracy"], strict=True)), "draws": network["draws"]}
                for network in record["results"]["networks"] for name, each in network["on"].items()]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        networks = record["results"]["networks"]
        lines = [[network["label"], *(_text(network["on"][name][what]) for what in ("agreement", "accuracy")
                                      for name in network["on"])] for network in networks]
        classes = [[network["label"], *(f"{_text(each['accuracy'])} ({each['images']})" if each["accuracy"] else "- (0)"
                                        for each in network["by_class"])] for network in networks if network["draws"]]
        found = [("Agreement and accuracy, %", ["network", "agreement, clean", "agreement, attacked", "accuracy, clean",
                                                "accuracy, attacked"], lines)]
        return found + ([("Accuracy under attack by the agreement on the clean image, % (images)",
                          ["network", *CLASSES], classes)] if classes else [])

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        said = []
        for network in record["results"]["networks"]:
            if not network["draws"]:
                continue
            clean, attacked = (network["on"][name] for name in ("clean", "attacked"))
            said.append(f"{network['label']}: two draws agree on {_text(clean['agreement'])} % of clean images and on "
                        f"{_text(attacked['agreement'])} % of attacked ones, of which {_text(attacked['accuracy'])} % "
                        "are right.")
        return said

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        import numpy as np

        networks = record["results"]["networks"]
        figure, (left, right) = new_figure(9.6, 4.3, 1, 2, sharey=True)
        apart = min(0.06, 0.5 / len(networks))  # side by side about their tick
        for place, network in enumerate(networks):
            colour = COLOURS[place % len(COLOURS)]
            marker = MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]  # another one when colours come again
            accuracy = network["on"]["attacked"]["accuracy"]
            for name, filled in (("clean", colour), ("attacked", "white")):
                label = network["label"] if name == "clean" else None
                _point(left, network["on"][name]["agreement"], accuracy, color=colour, marker=marker,
                       markerfacecolor=filled, label=label)
            if network["draws"]:
                beside = apart * (place - (len(networks) - 1) / 2)
                shown = [(number + beside, *(100 * share for share in each["accuracy"]))
                         for number, each in enumerate(network["by_class"]) if each["accuracy"]]
                x, shares, lows, highs = (np.array(values) for values in zip(*shown, strict=True))
                right.errorbar(x, shares, [shares - lows, highs - shares], color=colour, marker=marker, markersize=5,
                               capsize=2, linewidth=1.2, elinewidth=0.8)
        left.set_xlabel("agreement of two draws (%); hollow: on attacked images")
        left.set_ylabel("accuracy under attack (%)")
        left.set_ylim(bottom=0)
        right.set_xticks(range(len(CLASSES)), CLASSES, fontsize=8)
        right.set_xlim(-0.4, len(CLASSES) - 0.6)
        right.set_xlabel("images by the agreement of their draws, clean")
        left.set_title("networks", **TITLE)
        right.set_title("images within each network", **TITLE)
        for axes in (left, right):
            plain(axes)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        heading = textwrap.fill(f"{cls.title}: {caption(record)}", 110)
        figure.suptitle(f"{heading}\nattacked under eot:{record['keys']['samples']}; bars: 95 %",
                        fontsize=9, x=0.01, ha="left")
        return {"": figure}


def _point(axes: Axes, x: list[float], y: list[float], **style: Any) -> None:
    """A mean of each, in percent, with its interval."""
    axes.errorbar(100 * x[0], 100 * y[0], [[100 * (y[0] - y[1])], [100 * (y[2] - y[0])]],
                  [[100 * (x[0] - x[1])], [100 * (x[2] - x[0])]], markersize=6, elinewidth=0.8, linestyle="", **style)


def _text(mean_and_interval: list[float]) -> str:
    return with_interval(mean_and_interval[0], mean_and_interval[1:])
