"""How a defence stands: what a referee looks at first, for each attacked network of a folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnabench.report.methods import Method, method_rows, methods, shown_accuracy
from rnabench.report.network import Network
from rnabench.report.paper_table import PaperTable, Published, published_of
from rnabench.report.record import Record, ThreatKept, WorstCase
from rnabench.report.scores import averaging
from rnabench.report.staleness import reasons
from rnabench.report.table import percent
from rnabench.report.verdict import Beside, beside_baselines
from rnabench.scoring.trainings import spread
from rnabench.settings.architectures import WITHOUT_NORMS
from rnabench.settings.deployment import with_use
from rnabench.settings.parts import with_parts
from rnabench.settings.pixels import in_255ths

NOT_IN_ALL = "not all of its trainings have it"


@dataclass(frozen=True)
class Score:
    """An accuracy, a share in [0, 1]: of one training with the ends of its 95 % interval, of several their mean with
    the standard deviation `sd` over them. `attack` under `protocol` is what left it on so many `images`, scored on so
    many `draws`; `unreliable`: a sanity check that concerns it failed."""

    accuracy: float
    low95: float | None
    high95: float | None
    sd: float | None
    attack: str
    protocol: str
    images: int
    draws: int
    unreliable: bool

    @property
    def shown(self) -> str:
        """`52.3 ± 1.9` in percent, and `!` where it is not to be relied on."""
        return shown_accuracy(vars(self))

    @property
    def spread(self) -> str:
        """`95 % interval 12.3 - 15.6`, or `standard deviation 1.1` over trainings."""
        if self.low95 is None or self.high95 is None:
            return f"standard deviation {percent(self.sd or 0.0)}"
        return f"95 % interval {percent(self.low95)} - {percent(self.high95)}"


Measured = Score | str
"""A score, or why there is none."""


@dataclass(frozen=True)
class Standing:
    """A defence as a leaderboard has it.

    `paper`: what the worst bounded attack at the threat model's eps leaves under the protocol `paper`; `adaptive`: the
    worst case over those that average over paths, for each image the attack that is worst for it (both: of a
    deterministic network, all bounded attacks at that eps). `after_tries`: the share of images that are right under all
    of these attacks on every draw, so `adaptive.draws` tries (of a deterministic network any number: they change
    nothing); None where `adaptive` is none. `beside`: a randomised one beside its deterministic baseline, where both
    met the same attacks; None without a baseline.
    """

    method: Method
    natural: Measured
    paper: Measured
    adaptive: Measured
    after_tries: float | None
    beside: Beside | None
    published: Published | None
    is_baseline: bool

    @property
    def network(self) -> Network:
        return self.method.records[0].model

    @property
    def trainings(self) -> int:
        return len(self.method.records)

    @property
    def forward_passes(self) -> int:
        """Of the network, for one prediction."""
        return self.network.deployed.average if self.network.deployed else 1

    @property
    def checks(self) -> dict[str, int]:
        """How many sanity checks of all trainings ended how."""
        ended = [flag.status for record in self.method.records for flag in record.sanity.flags]
        return {status: ended.count(status) for status in ("FAIL", "WARN", "PASS")}

    @property
    def unreliable(self) -> bool:
        return any(record.unreliable for record in self.method.records)

    @property
    def stale(self) -> bool:
        """Whether other versions of the algorithms than today's made a part of the numbers."""
        return any(reasons(record) for record in self.method.records)

    @property
    def setting(self) -> str:
        """What the numbers of two defences must share to be held against each other: `cifar10, Linf eps 8/255`."""
        first = self.method.records[0]
        return f"{first.data.name}, {threat_text(first.threat)}"


def standings(records: Sequence[Record], table: PaperTable | None) -> list[Standing]:
    """All attacked networks of a result folder, each once, in the records' order; `table` is the folder's that has
    published numbers, if it has one."""
    baselines = {record.baseline.digest for record in records if record.baseline}
    among, found = methods(records), []
    beside = {id(each.method): each for each in beside_baselines(among)}  # names may stand twice
    for method in among:
        threat, rows = method.records[0].threat, method_rows(method.records)
        adaptive = _adaptive(method)
        worst = spread_of([record.headline.worst_of_draws for record in method.records if record.headline])[0]
        found.append(Standing(
            method, _natural(rows), _paper(method, rows), adaptive, worst if isinstance(adaptive, Score) else None,
            beside.get(id(method)), published_of(table, method.title, threat.eps) if table else None,
            any(record.digest in baselines for record in method.records)))
    return found


def threat_text(threat: ThreatKept) -> str:
    """`Linf eps 8/255`."""
    return f"{threat.norm} eps {in_255ths(threat.eps) if threat.norm == 'Linf' else f'{threat.eps:.4g}'}"


def network_text(network: Network) -> str:
    """What a network is, in words: its architecture, and how it was trained."""
    training = f", {network.objective} training" if network.objective else ""
    return f"{architecture_text(network) or 'a network from elsewhere'}{training}"


def architecture_text(network: Network) -> str:
    """Architecture, width, parts, normalisers and use; nothing for a network from elsewhere."""
    if network.arch is None:
        return ""
    width = f" width {network.width}" if network.width is not None else ""
    norms = f", {network.space}" if network.space not in (None, WITHOUT_NORMS) else ""
    changes = network.deployed.model_dump(exclude_defaults=True) if network.deployed else {}
    rounded = f", weights rounded to {network.rounded}" if network.rounded else ""
    return with_use(f"{with_parts(f'{network.arch}{width}', dict(network))}{norms}{rounded}", changes)


def spread_of(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation over trainings, none of a single one; 0 and none of nothing."""
    return spread(values) if len(values) > 1 else (values[0] if values else 0.0, None)


def _natural(rows: Sequence[dict[str, Any]]) -> Measured:
    return next((_score(row) for row in rows if row["attack"] == "natural"), "not measured")


def _paper(method: Method, rows: Sequence[dict[str, Any]]) -> Measured:
    first = method.records[0]
    protocol = "paper" if first.model.randomised else "any"
    bounded = {result.attack for result in first.results if result.attack != "natural" and result.bounded
               and result.protocol == protocol and result.parameters["eps"] == first.threat.eps}
    scores = [_score(row) for row in rows if row["attack"] in bounded and row["protocol"] == protocol]
    if scores:
        return min(scores, key=lambda score: score.accuracy)
    under = " under paper" if first.model.randomised else ""
    return NOT_IN_ALL if bounded else f"no attack at {threat_text(first.threat)}{under}"


def _adaptive(method: Method) -> Measured:
    worst = [record.headline for record in method.records if record.headline]
    first = method.records[0]
    if len(worst) < len(method.records):
        averages = " that averages over paths" if first.model.randomised else ""
        return NOT_IN_ALL if worst else f"no attack at {threat_text(first.threat)}{averages}"
    over = [result for record in method.records for result in averaging(record)]
    mean, sd = spread_of([each.accuracy for each in worst])
    low, high = worst[0].interval95 if sd is None else (None, None)
    return Score(mean, low, high, sd, _attacks(worst[0]), "+".join(dict.fromkeys(result.protocol for result in over)),
                 min(result.images for result in over), over[-1].draws, any(result.unreliable for result in over))


def _attacks(worst: WorstCase) -> str:
    """The attacks of a worst case, in short."""
    if worst.adaptive_suite:
        return "the adaptive suite"
    names = list(dict.fromkeys(attack.partition(" / ")[0] for attack in worst.attacks))
    return names[0] if len(names) == 1 else f"worst case of {len(worst.attacks)}"


def _score(row: dict[str, Any]) -> Score:
    return Score(**{name: row[name] for name in Score.__dataclass_fields__})
