"""All-or-nothing accuracy (the thesis, section 4.4 and Table 4.2): an image counts only if the defence is right under
every attacker of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import StrictBool, field_validator

from rnabench.errors import InvalidValue, one_of
from rnabench.report.figure import COLOURS, TITLE, new_figure, plain
from rnabench.report.study import caption, with_interval
from rnabench.settings.base import Draws, judged, setting
from rnabench.settings.protocols import parse_protocol
from rnabench.settings.studies import Record, Results, Table, study
from rnabench.settings.transferring import Transferring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rnabench.studies.measure.subject import Networks
    from rnabench.studies.measure.work import Work

EVERY, CLEAN, NOBODY = "every attacker", "clean images", "-"
SOURCES = ("Networks, comma-separated, that images are made on; all others are defences.")


@study
class AllOrNothing(Transferring):
    """Attack with several attackers, and count an image only if the defence is right under every one of them.

    An attacker is an attack on a source: another network than the defence, or an ensemble that it is not in, or, with
    `white_box`, the defence itself. A randomised defence predicts with several draws: the product over attackers is
    taken for each draw, which is the same path under every attacker, and then the mean over draws.
    """

    name = "all-or-nothing"
    title = "All or nothing"
    accuracy_by = ("defence", "attack", "source")
    later = ()
    legend = """\
**every attacker**: the share of images (and draws of the defence) that are right under each of the attackers above it,
never more than under the strongest of them. An attacker is an attack on a source, a network or ensemble that the images
are made on; a source that is the defence itself is the white box."""

    sources: tuple[str, ...] | None = setting(None, SOURCES, "Network", "for each network, all others")
    white_box: StrictBool = setting(False, "Attack each defence itself, too.", "Attack")
    with_clean: StrictBool = setting(False, "The clean image is one more version that has to be right.", "Attack")
    protocol: Annotated[str, setting(..., "How a network that draws is attacked: paper (one frozen path), resample, or "
                                     "eot:K.", "Attack")] = "paper"
    draws: Draws = 20

    @field_validator("protocol")
    @classmethod
    def _protocol(cls, value: str) -> str:
        if judged(parse_protocol, value) == "same-path":
            raise ValueError("expected paper, resample or eot:K: every attacker meets the same fresh paths")
        return value

    @property
    def freezes(self) -> bool:
        return not parse_protocol(self.protocol).samples

    def passes(self, layers: int, models: int, classes: int) -> tuple[float, float]:
        gradients, forwards = self.attack_passes(classes)
        samples = max(1, parse_protocol(self.protocol).samples) if layers else 1
        return samples * gradients, samples * forwards + (models * len(self.specs) + 1) * (self.draws if layers else 1)

    def compute(self, networks: Networks, classes: int, work: Work) -> Results:
        from rnabench.studies.measure.all_or_nothing import against_all, attackers_of
        from rnabench.studies.measure.subject import described, subjects
        from rnabench.studies.measure.transfer import sources

        chosen = subjects(networks, "deployed", self.seed)
        labels = [subject.label for subject in chosen]
        for label in self.sources or ():
            if label not in labels:
                raise InvalidValue("sources", label, one_of(labels), labels)
        only = set(self.sources or ())
        ensembles = self.ensembles_of([label for label in labels if not only or label in only])
        made_on = sources(chosen, ensembles)
        defences = {label: attackers_of(label, made_on, self.sources, self.white_box)
                    for label in labels if label not in only}
        if not defences or not all(defences.values()):
            without = next((label for label, attackers in defences.items() if not attackers), labels[0])
            raise InvalidValue("RUN", without, "a defence and another network that attacks it, or --white-box")
        found = against_all(chosen, defences, self.specs, parse_protocol(self.protocol),
                            self.evaluation(draws=self.draws), classes, work, ensembles)
        return {"subjects": [described(subject) for subject in chosen],
                "ensembles": [{"label": name, "weights": weights} for name, weights in ensembles.items()],
                "defences": [each.as_json(self.with_clean) for each in found]}

    @classmethod
    def rows(cls, record: Record) -> list[dict[str, Any]]:
        return [{"defence": defence["defence"], "attack": attack, "source": source, "accuracy": under["accuracy"],
                 "low95": under["interval95"][0], "high95": under["interval95"][1], "draws": under["draws"]}
                for defence in record["results"]["defences"] for attack, source, under in _versions(defence)]

    @classmethod
    def tables(cls, record: Record) -> list[Table]:
        headings = ["defence", "attack", "source", "accuracy"]
        lines = [[row["defence"], row["attack"], row["source"],
                  with_interval(row["accuracy"], [row["low95"], row["high95"]])] for row in cls.rows(record)]
        return [("Accuracy of the defence, %", headings, lines)]

    @classmethod
    def findings(cls, record: Record) -> list[str]:
        said = []
        for defence in record["results"]["defences"]:
            strongest = min(defence["attackers"], key=lambda each: float(each["accuracy"]))
            whole = defence["all"]
            said.append(
                f"{defence['defence']} is right under all {len(defence['attackers'])} attackers"
                f"{' and on the clean image' if record['keys']['with_clean'] else ''} for "
                f"{with_interval(whole['accuracy'], whole['interval95'])} % of the images; under the strongest of them "
                f"alone, {strongest['attack']} on {strongest['source']}, for {100 * strongest['accuracy']:.1f} %.")
        return said

    @classmethod
    def figures(cls, record: Record) -> dict[str, Figure]:
        defences = record["results"]["defences"]
        versions = [_versions(defence) for defence in defences]
        heights = [0.6 + 0.26 * len(each) for each in versions]
        figure, panels = new_figure(7.2, 1.0 + sum(heights), len(defences), squeeze=False,
                                    gridspec_kw={"height_ratios": heights})
        for axes, defence, each in zip(panels[:, 0], defences, versions, strict=True):
            shares = [100 * under["accuracy"] for _, _, under in each]
            errors = [[share - 100 * under["interval95"][0] for share, (_, _, under) in zip(shares, each, strict=True)],
                      [100 * under["interval95"][1] - share for share, (_, _, under) in zip(shares, each, strict=True)]]
            colours = [COLOURS[1] if attack == EVERY else COLOURS[2] if attack == CLEAN else COLOURS[0]
                       for attack, _, _ in each]
            axes.barh(range(len(each)), shares, xerr=errors, color=colours, alpha=0.8, ecolor="0.3", capsize=2)
            for place, ((_, _, under), share) in enumerate(zip(each, shares, strict=True)):
                axes.text(min(100 * under["interval95"][1] + 1, 94), place, f"{share:.1f}", va="center", fontsize=8)
            axes.set_yticks(range(len(each)), [attack if source == NOBODY else f"{attack} on {source}"
                                               for attack, source, _ in each], fontsize=8)
            axes.invert_yaxis()
            axes.set_xlim(0, 100)
            axes.set_title(f"defence: {defence['defence']}", **TITLE)
            plain(axes)
        panels[-1, 0].set_xlabel("accuracy of the defence (%), 95 % intervals")
        figure.suptitle(f"{cls.title}: {caption(record)}", fontsize=9, x=0.01, ha="left", wrap=True)
        return {"": figure}


def _versions(defence: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """What a defence is measured on, as attack, source and result: clean images, each attacker's, and all of these."""
    return [(CLEAN, NOBODY, defence["clean"]),
            *((each["attack"], each["source"], each) for each in defence["attackers"]), (EVERY, NOBODY, defence["all"])]
