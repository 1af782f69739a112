"""Path difference (Figure 5 c): attack one path, predict with another that differs from it in exactly d layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnabench.reference import published
from rnabench.report.figure import curves_by_difference
from rnabench.report.study import caption, like_the_paper, with_interval
from rnabench.settings.base import setting
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work


@study
class PathDifference(Attacking):
    """Attack one path of a randomised network and predict with others, by the number of layers in which they differ
    (Figure 5 c)."""

    name = "path-difference"
    title = "Path difference"
    accuracy_by = ("model", "difference")
    legend = """\
**difference**: the number of layers in which the attacked and the predicting path choose differently. **accuracy**: the
mean over pairs of paths and images; pairs and images count as samples in the 95 % interval. **gain**: how much
higher it is than on the attacked path itself, after the same attacks on the same images. **min**, **max**: over
pairs. **share**: how often two independent draws are that far apart, as in the `paper` protocol; **expected**: the
accuracy averaged over differences with these weights. Pairs of all differences share their first paths, so one attack
serves a whole curve."""

    pairs: int = setting(10, "Pairs of paths at every difference.", "Attack", strict=True, ge=2, le=1000)

    @property
    def of_paths(self) -> bool:
        return True

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        return gradients, forwards + self.pairs * (layers + 1)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.scoring.outcome import bits
        from rnabench.studies.measure.path_difference import drawn_pairs, path_difference, path_pairs
        from rnabench.studies.measure.subject import subjects

        chosen = subjects(networks, "deployed", self.seed)
        for subject in chosen:
            path_pairs(subject, 1, self.seed)  # fails for a network that does not draw before any work is done
        curves = []
        for subject in chosen:
            curve = path_difference(subject, self.spec, self.pairs, self.evaluation(), classes, work)
            points = [dict(zip(("accuracy", "low95", "high95"), curve.accuracy(place), strict=True)) | {
                "difference": d, "share": curve.shares[place], "by_pair": curve.by_pair[:, place].tolist(),
                "gain": list(curve.gain(place)),
            } for place, d in enumerate(curve.differences)]
            expected, low, high = curve.expected
            curves.append({
                "label": subject.label, "layers": len(subject.paths.layers), "points": points,
                "expected": {"accuracy": expected, "interval95": [low, high]},
                "paths": drawn_pairs(subject, self.pairs, self.seed),
                "outcomes": [[bits(curve.correct[:, pair, place]) for place in range(len(points))]
                             for pair in range(self.pairs)],
            })
        return {"curves": curves}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [
            {"model": curve["label"], "difference": point["difference"], "accuracy": point["accuracy"],
             "low95": point["low95"], "high95": point["high95"],
             "min": min(point["by_pair"]), "max": max(point["by_pair"]),
             **dict(zip(("gain", "gain_low95", "gain_high95"), point["gain"], strict=True)),
             "pairs": len(point["by_pair"]), "share": point["share"],
             "paper_percent": _paper(record, curve["label"]).get(point["difference"])}
            for curve in record["results"]["curves"] for point in curve["points"]
        ]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        found = []
        for curve in record["results"]["curves"]:
            paper = _paper(record, curve["label"])
            lines = [[str(p["difference"]), with_interval(p["accuracy"], [p["low95"], p["high95"]]), _gain(p),
                      f"{100 * min(p['by_pair']):.1f}", f"{100 * max(p['by_pair']):.1f}", f"{100 * p['share']:.1f}",
                      f"{paper[p['difference']]:.1f}" if p["difference"] in paper else "-"] for p in curve["points"]]
            headings = ["difference", "accuracy % [95 %]", "gain, points [95 %]", "min", "max", "share %", "paper"]
            found.append((curve["label"], headings if paper else headings[:-1],
                          lines if paper else [line[:-1] for line in lines]))
        return found

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        found = []
        for curve in record["results"]["curves"]:
            first, last = curve["points"][0], curve["points"][-1]
            usual = max(curve["points"], key=lambda point: point["share"])
            start, end = (with_interval(p["accuracy"], [p["low95"], p["high95"]]) for p in (first, last))
            drawn = with_interval(curve["expected"]["accuracy"], curve["expected"]["interval95"])
            found.append(
                f"{curve['label']}: from {start} % on the attacked path itself to {end} % at difference "
                f"{last['difference']}, a gain of {_gain(last)} points; two independent draws differ most often in "
                f"{usual['difference']} of {curve['layers']} layers (gain {_gain(usual)}), and accuracy averaged as "
                f"they do is {drawn} %.")
        return found

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        curves = [curve | {"points": [point | {name: 100 * point[name] for name in ("accuracy", "low95", "high95")} | {
            "by_pair": [100 * each for each in point["by_pair"]]} for point in curve["points"]]}
            for curve in record["results"]["curves"]]
        marks = [(difference, number, label) for label in (curve["label"] for curve in curves)
                 for difference, number in _paper(record, label).items()]
        pairs = len(curves[0]["points"][0]["by_pair"])
        title = (f"{cls.title}: {pairs} pairs of paths each, attack on one, prediction with the other\n"
                 + caption(record).replace("; ", "\n", 1))
        figure = curves_by_difference(curves, "accuracy", "accuracy (%)", title, marks, "min to max over pairs")
        figure.axes[0].set_ylim(bottom=0)
        return {"": figure}


def _paper(record: Record, label: str) -> dict[int, float]:
    """Published points of Figure 5 c by difference: PGD-20's."""
    if not like_the_paper(record) or record["attack"]["name"] != "pgd20":
        return {}
    space = next(model.get("space") for model in record["models"] if model["label"] == label)
    return {int(row["column"].rsplit(" ", 1)[1]): float(row["accuracy_percent"])
            for row in published("figure5c", space=space)}


def _gain(point: dict[str, Any]) -> str:
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in point["gain"]))
