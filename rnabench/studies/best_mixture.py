"""The best mixture over paths: what randomness could be worth if the paths were drawn as a defender should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import field_validator

from rnabench.report.figure import COLOURS, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import described, setting
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

PATHS = described("The paths that are mixed: one per normaliser, or operator, that all layers have (normalisers), or a "
                  "number of random ones.", "Network")
BEST, SINGLE, UNIFORM = "best mixture", "best single path", "uniform mixture"


@study
class BestMixture(Attacking):
    """Find the mixture over a network's paths that leaves an attacker least, beside the uniform one and the best path.

    Each path is attacked, and their uniform mixture by averaging gradients; for each image the attacker takes what is
    worst under the defender's mixture (Dbouk and Shanbhag 2022 on when randomised ensembles help).
    """

    name = "best-mixture"
    title = "Best mixture over paths"
    accuracy_by = ("model", "defender")
    legend = """\
**accuracy**: the mean over images of the chance to be right in the version that is worst for the image, of those that
attacks on each path and on the uniform mixture have found: max over mixtures q of mean over images i of min over
attacks a of sum over paths p of q_p right(a, i, p), a linear programme. The **best mixture** and the **best single
path** are chosen on half of the images and scored on the other half, and the other way round, so that the numbers are
honest; on the images that it is chosen on a mixture can only look better. Intervals count images; **gain** is paired,
over the uniform mixture. Nobody attacked the best mixture itself: an attacker who knows it may leave less."""

    paths: Annotated[str, PATHS] = "8"
    samples: int = setting(20, "Draws that are averaged at every step of the attack on the uniform mixture.", "Attack",
                           strict=True, ge=1, le=9999)

    @field_validator("paths", mode="before")
    @classmethod
    def _paths(cls, value: object) -> str:
        text = str(value)
        if text != "normalisers" and not (text.isdecimal() and 1 <= int(text) <= 100):
            raise ValueError("expected normalisers, or a number of random paths from 1 to 100")
        return text

    @field_validator("n_examples")
    @classmethod
    def _two_halves(cls, value: int | None) -> int | None:
        if value == 1:
            raise ValueError("expected at least 2, to choose on one half and score on the other")
        return value

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        paths = 1 if not layers else int(self.paths) if self.paths.isdecimal() else 4
        averaged = self.spec.parameters.passes_of(self.samples, classes) if paths > 1 else (0.0, 0.0)
        return paths * gradients + averaged[0], paths * forwards + averaged[1] + (paths + 1) * paths

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        import numpy as np

        from rnabench.errors import InvalidValue
        from rnabench.scoring.interval import accuracy_interval, difference_interval
        from rnabench.scoring.mixture import Mixtures
        from rnabench.scoring.outcome import bits
        from rnabench.studies.measure.best_mixture import right_by_path
        from rnabench.studies.measure.subject import described, subjects

        if len(work.source) < 2:
            raise InvalidValue("--n-examples", len(work.source), "at least 2 images: half to choose on, half to score")
        keys, found = self.evaluation(attack_paths=1), []
        split = [subjects([network], self.paths, self.seed) for network in networks]  # which may fail, before any work
        for (label, _), chosen in zip(networks, split, strict=True):
            right = right_by_path(chosen, self.spec, self.samples, keys, classes, work)
            mixtures = Mixtures.of(np.stack(list(right.values())))
            worth = {BEST: mixtures.mixture, SINGLE: mixtures.single, UNIFORM: mixtures.uniform}
            found.append({
                "label": label, "paths": [described(subject) for subject in chosen],
                "mixture": mixtures.overall.tolist(), "halves": mixtures.chosen.tolist(),
                "in_sample": mixtures.in_sample,
                "defenders": [{
                    "defender": name, "accuracy": float(values.mean()),
                    "interval95": list(accuracy_interval(np.repeat(values[:, None], 2, 1))),
                    "gain": list(difference_interval(values[:, None], mixtures.uniform[:, None]))}
                    for name, values in worth.items()],
                "right": {attack: [bits(path) for path in each.T] for attack, each in right.items()}})
        return {"networks": found}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [{"model": network["label"], "defender": each["defender"], "accuracy": each["accuracy"],
                 "low95": each["interval95"][0], "high95": each["interval95"][1], "gain": each["gain"][0],
                 "gain_low95": each["gain"][1], "gain_high95": each["gain"][2], "paths": len(network["paths"])}
                for network in record["results"]["networks"] for each in network["defenders"]]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        lines = [[row["model"], row["defender"], with_interval(row["accuracy"], [row["low95"], row["high95"]]),
                  "-" if row["defender"] == UNIFORM else _points(row["gain"], row["gain_low95"], row["gain_high95"])]
                 for row in cls.rows(record)]
        found = [("Accuracy by how paths are drawn, %", ["network", "defender", "accuracy % [95 %]",
                                                         "gain, points [95 %]"], lines)]
        for network in record["results"]["networks"]:
            drawn = zip(network["paths"], network["mixture"], *network["halves"], strict=True)
            found.append((f"{network['label']}: how often each path is drawn, %",
                          ["path", "by all images", "by one half", "by the other half"],
                          [[_short(path["label"], network["label"]), *(f"{100 * share:.1f}" for share in shares)]
                           for path, *shares in drawn]))
        return found

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        said = []
        for network in record["results"]["networks"]:
            by_name = {each["defender"]: each for each in network["defenders"]}
            best, single, uniform = (with_interval(by_name[name]["accuracy"], by_name[name]["interval95"])
                                     for name in (BEST, SINGLE, UNIFORM))
            gap, low, high = by_name[BEST]["gain"]
            shown = "more" if low > 0 else "less" if high < 0 else "not shown to be more or less"
            gain = _points(gap, low, high)
            said.append(
                f"{network['label']}, number of paths {len(network['paths'])}: the best mixture leaves {best} %, "
                f"{shown} than the uniform one ({uniform} %; {gain} points, paired); the best single path {single} %. "
                f"On the images that it is chosen on the best mixture leaves {100 * network['in_sample']:.1f} %.")
        return said

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        networks = record["results"]["networks"]
        figure, (left, right) = new_figure(9.6, 1.6 + 0.75 * len(networks) + 0.5, 1, 2)
        names = [each["defender"] for each in networks[0]["defenders"]]
        for row, network in enumerate(networks):
            for place, each in enumerate(network["defenders"]):
                share, (low, high) = 100 * each["accuracy"], (100 * limit for limit in each["interval95"])
                left.barh(row + 0.26 * (place - 1), share, 0.24, xerr=[[share - low], [high - share]], ecolor="0.3",
                          color=COLOURS[place], alpha=0.85, capsize=2, label=names[place] if not row else None)
            start = 0.0
            for place, share in enumerate(network["mixture"]):
                right.barh(row, 100 * share, 0.6, left=start, color=COLOURS[place % len(COLOURS)], alpha=0.85,
                           edgecolor="white")
                if share > 0.08:
                    right.text(start + 50 * share, row, _short(network["paths"][place]["label"], network["label"]),
                               ha="center", va="center", fontsize=7, color="white")
                start += 100 * share
        for axes, label in ((left, "accuracy (%), 95 % intervals"), (right, "how often each path is drawn (%)")):
            axes.set_yticks(range(len(networks)), [network["label"] for network in networks])
            axes.invert_yaxis()
            axes.set_xlabel(label)
            plain(axes)
        right.set_xlim(0, 100)
        right.set_yticks([])
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=8, frameon=False)
        figure.suptitle(f"{cls.title}: {caption(record)}\nright: the mixture chosen on all images", fontsize=9, x=0.01,
                        ha="left")
        return {"": figure}


def _short(label: str, network: str) -> str:
    """A path's own name."""
    return label.removeprefix(f"{network}: ")


def _points(gap: float, low: float, high: float) -> str:
    return f"{100 * gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
