"""Convergence of an adaptive attack: how many draws per gradient, and how many steps, until more change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnabench.report.figure import COLOURS, MARKERS, STYLES, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import Draws, setting
from rnabench.settings.studies import Attacking, Record, Results, Table, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rnabench.studies.measure.convergence import Climbed
    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

AVERAGED, STEPS = "draws per gradient", "steps"
NOT_DRAWN = "nothing is drawn: no gradient differs from another, and the ratio is infinite"


@study
class Convergence(Attacking):
    """Double the draws per gradient, then the steps, until the accuracy's change is shown to be within a tolerance.

    Each rung attacks the same images; the paired 95 % interval of the change decides. Beside it, how noisy gradients
    are: how many draws each image needs until their mean stands out of its own standard error.
    """

    name = "convergence"
    title = "Convergence of the attack"
    accuracy_by = ("model", "samples", "steps")
    legend = """\
**change**: accuracy less that at half as many draws, or steps, on the same images and scoring draws, in points, with a
paired 95 % interval that counts images and draws. **settled**: the interval lies within the tolerance on either side of
zero; a rung whose true change is as large as the tolerance is called settled at most 2.5 times in 100. **passes**:
forward and backward passes per image that the attack plans. **signal to noise** of M draws of an image's gradient:
|mean| / |standard error of the mean|, where the squared standard error is the sum over pixels of the variance over
draws, divided by M; pure noise has about 1. **draws needed** for a ratio of 1 between the true mean's norm and its
standard error: variance / (|mean|^2 - variance / M), `none` where M draws show no signal."""

    attack: str | dict[str, Any] = setting("pgd10", "Attack by name, as in `rnabench attack --list`; its steps are the "
                                           "first rung's.", "Attack")
    tolerance: float = setting(0.005, "The change of accuracy that does not count, a share: 0.005 is half a point.",
                               "Attack", gt=0, lt=1)
    most_samples: int = setting(32, "Draws per gradient up to which is doubled, from 1 on.", "Attack", strict=True,
                                ge=2, le=4096)
    most_steps: int = setting(80, "Steps up to which is doubled, from the attack's own on.", "Attack", strict=True,
                              ge=1, le=100_000)
    gradient_draws: int = setting(16, "Draws of each image's gradient whose noise is measured.", "Attack", strict=True,
                                  ge=2, le=10_000)
    draws: Draws = 20

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        from rnabench.scoring.convergence import doubled
        from rnabench.settings.attacks import with_steps

        averaged = doubled(1, self.most_samples) if layers else [1]
        first = getattr(self.spec.parameters, "steps", 0)
        rungs = [(samples, first) for samples in averaged] + [
            (averaged[-1], steps) for steps in (doubled(first, self.most_steps)[1:] if first else [])]
        gradients, forwards = 0.0, 0.0
        for samples, steps in rungs:
            spec = with_steps(self.spec, steps) if steps else self.spec
            each = spec.parameters.passes_of(samples if layers else 0, classes)
            gradients, forwards = gradients + each[0], forwards + each[1] + self.draws + 1
        return gradients + (2 * self.gradient_draws + first if layers else 0), forwards

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.convergence import Limits, convergence, passes_of
        from rnabench.studies.measure.subject import subjects

        limits, found = Limits(self.tolerance, self.most_samples, self.most_steps), []
        for subject in subjects(networks, "deployed", self.seed):
            each = convergence(subject, self.spec, limits, self.gradient_draws, self.evaluation(draws=self.draws),
                               classes, work)
            passes = passes_of(self.spec, each.rungs, subject.is_random, classes)
            found.append({
                "label": subject.label, "draws": subject.is_random, "passes": sum(passes),
                "rungs": [self._rung(climbed, each.groups, spent)
                          for climbed, spent in zip(each.rungs, passes, strict=True)],
                "settled": {of: ladder[-1].rung.is_within(self.tolerance)
                            for of, ladder in ((AVERAGED, each.by_samples), (STEPS, each.by_steps)) if ladder},
                "noise": {where: _noise(noise) for where, noise in each.noise.items()}})
        return {"networks": found}

    def _rung(self, climbed: Climbed, groups: Any, passes: float) -> Results:
        from rnabench.scoring.convergence import images_to_tell
        from rnabench.scoring.interval import accuracy_interval
        from rnabench.scoring.outcome import bits

        rung, change = climbed.rung, climbed.rung.change
        return {"samples": climbed.samples, "steps": climbed.steps, "accuracy": float(rung.correct.mean()),
                "interval95": list(accuracy_interval(rung.correct, groups)),
                "change": None if change is None else [change.gap, *change.interval()],
                "settled": rung.is_within(self.tolerance), "images_to_tell": images_to_tell(rung, self.tolerance),
                "passes": passes, "correct": [bits(draw) for draw in rung.correct.T]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        rows = []
        for network in record["results"]["networks"]:
            for rung in network["rungs"]:
                change, low, high = rung["change"] or (None, None, None)
                rows.append({"model": network["label"], "samples": rung["samples"] if network["draws"] else None,
                             "steps": rung["steps"], "accuracy": rung["accuracy"], "low95": rung["interval95"][0],
                             "high95": rung["interval95"][1], "change": change, "change_low95": low,
                             "change_high95": high, "settled": rung["settled"], "passes": rung["passes"],
                             **{f"{name}_{where}": (network["noise"].get(where) or {}).get(name)
                                for where in ("clean", "attacked") for name in ("signal_to_noise", "draws_needed")}})
        return rows

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        lines = [[row["model"], _number(row["samples"]), _number(row["steps"]),
                  with_interval(row["accuracy"], [row["low95"], row["high95"]]),
                  _points(row["change"], row["change_low95"], row["change_high95"]),
                  "-" if row["change"] is None else "yes" if row["settled"] else "no", f"{row['passes']:,.0f}"]
                 for row in cls.rows(record)]
        draws = record["keys"]["gradient_draws"]
        noise = [[network["label"], where, _number(each["signal_to_noise"]), _number(each["draws_needed"], "none"),
                  _number(each["draws_needed_90"], "none"), f"{100 * each['unseen']:.1f}"]
                 for network in record["results"]["networks"] for where, each in network["noise"].items()]
        noise += [[network["label"], "any", f"- ({NOT_DRAWN})", "-", "-", "-"]
                  for network in record["results"]["networks"] if not network["draws"]]
        return [("Accuracy by rung, %", ["network", AVERAGED, STEPS, "accuracy % [95 %]", "change, points [95 %]",
                                         "settled", "passes"], lines),
                (f"Gradient noise, by image, of {draws} draws",
                 ["network", "images", "signal to noise, median", "draws needed, median",
                  "draws needed, for 90 % of images", "no signal, % of images"], noise)]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        said, tolerance = [], 100 * record["keys"]["tolerance"]
        for network in record["results"]["networks"]:
            last, parts = network["rungs"][-1], []
            for of, settled in network["settled"].items():
                rungs = _ladder(network, of)
                name = "samples" if of == AVERAGED else "steps"
                ended = rungs[-1]
                if settled:
                    parts.append(f"{of}: settled at {ended[name]} (from {rungs[-2][name]} on, doubling changes "
                                 f"{_points(*ended['change'])} points)")
                elif ended["change"] is None:
                    parts.append(f"{of}: no second rung within the limit")
                else:
                    more = ended["images_to_tell"]
                    needed = f"; about {more:,} images would show that it does not count" if more else ""
                    parts.append(f"{of}: not settled up to {ended[name]} (the last doubling changed "
                                 f"{_points(*ended['change'])} points{needed})")
            said.append(f"{network['label']}, tolerance {tolerance:g} points: {'; '.join(parts)}. "
                        f"{with_interval(last['accuracy'], last['interval95'])} % are left after "
                        f"{network['passes']:,.0f} passes per image in all.")
        return said

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        networks = record["results"]["networks"]
        figure, panels = new_figure(11.4, 4.2, 1, 3)
        for place, network in enumerate(networks):
            for axes, of, name in zip(panels, (AVERAGED, STEPS), ("samples", "steps"), strict=False):
                _draw_ladder(axes, _ladder(network, of), name, place, network["label"])
            for where, style in (("clean", STYLES[1]), ("attacked", STYLES[0])):
                if where in network["noise"]:
                    _draw_noise(panels[2], network["noise"][where], record["keys"]["most_samples"],
                                COLOURS[place % len(COLOURS)], style, f"{network['label']}, {where} images")
        for axes, of in zip(panels, (f"{AVERAGED} (K of eot:K)", f"{STEPS}, at the last K"), strict=False):
            axes.set_xlabel(of)
            axes.set_ylabel("accuracy (%)")
        panels[1].sharey(panels[0])
        panels[2].set_xlabel("draws")
        panels[2].set_ylabel("images whose mean gradient stands out (%)")
        panels[2].set_ylim(0, 100)
        for axes in panels:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            plain(axes)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=7, frameon=False)
        figure.suptitle(f"{cls.title}: {caption(record)}\nbands: 95 %; a star: the doubling up to here changes less "
                        f"than {100 * record['keys']['tolerance']:g} points; right: signal to noise of at least 1",
                        fontsize=9, x=0.01, ha="left")
        return {"": figure}


def _noise(noise: Any) -> Results:
    """What a record says of the gradients of all images."""
    import numpy as np

    from rnabench.studies.measure.work import short

    ratios, needed = noise.signal_to_noise, noise.draws_needed
    there = ~np.isnan(needed)
    if not there.any():
        return {"signal_to_noise": None, "draws_needed": None, "draws_needed_90": None, "unseen": 1.0, "by_image": []}
    middle, most = np.quantile(needed[there], [0.5, 0.9], method="higher")
    return {"signal_to_noise": float(np.median(ratios[there])), "draws_needed": float(middle),
            "draws_needed_90": float(most), "unseen": float((~np.isfinite(needed)).mean()),
            "by_image": short(np.where(np.isfinite(needed), needed, np.nan))}


def _ladder(network: dict[str, Any], of: str) -> list[dict[str, Any]]:
    """The rungs over draws, or over steps: these begin with the last of those."""
    first = network["rungs"][0]["steps"]
    over_samples = [rung for rung in network["rungs"] if rung["steps"] == first]
    if of == AVERAGED:
        return over_samples if network["draws"] else []
    return [over_samples[-1], *(rung for rung in network["rungs"] if rung["steps"] != first)]


def _draw_ladder(axes: Axes, rungs: list[dict[str, Any]], name: str, place: int, label: str) -> None:
    rungs = [rung for rung in rungs if rung[name] is not None]
    if not rungs:
        return
    colour, x = COLOURS[place % len(COLOURS)], [rung[name] for rung in rungs]
    axes.plot(x, [100 * rung["accuracy"] for rung in rungs], marker=MARKERS[place % len(MARKERS)], markersize=4,
              color=colour, label=label)
    low, high = zip(*(rung["interval95"] for rung in rungs), strict=True)
    axes.fill_between(x, [100 * each for each in low], [100 * each for each in high], color=colour, alpha=0.12,
                      linewidth=0)
    settled = [rung for rung in rungs[1:] if rung["settled"]]
    axes.plot([rung[name] for rung in settled], [100 * rung["accuracy"] for rung in settled], "*", markersize=14,
              color=colour)


def _draw_noise(axes: Axes, noise: dict[str, Any], most: int, colour: str, style: str, label: str) -> None:
    numbers = [2 ** (step / 4) for step in range(4 * max(most, 2).bit_length())]
    shares = [100 * sum(needed is not None and needed <= number for needed in noise["by_image"])
              / max(len(noise["by_image"]), 1) for number in numbers]
    axes.plot(numbers, shares, style, color=colour, label=label)


def _number(value: float | None, nothing: str = "-") -> str:
    return nothing if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _points(gap: float | None, low: float | None, high: float | None) -> str:
    if gap is None or low is None or high is None:
        return "-"
    return f"{100 * gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
