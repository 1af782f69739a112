"""Sanity checks: signs that an attack, not the defence, explains a number. Each says PASS, WARN or FAIL, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from rnabench.scoring.flag import SURE, Flag, Row, Status
from rnabench.scoring.interval import difference_interval
from rnabench.scoring.model_checks import gradients, normalisation
from rnabench.settings.pixels import in_255ths
from rnabench.settings.protocols import strength

TOLERANCE = 0.02  # what more steps, restarts or samples may still change


def judge(rows: Sequence[Row], diagnosis: Mapping[str, Any], classes: int, eps: float, is_random: bool,
          baseline: Sequence[Row] = (), cumulative: bool = False) -> list[Flag]:
    """All eight checks of one model's rows: the table's and the probes' (on fewer images, compared on these).

    `diagnosis` as in `Diagnosis`; `eps` the evaluation's; `baseline` the rows of the deterministic baseline. The rows
    of `cumulative` attacks cannot be compared with each other: checks 1, 3 and 5 then do not apply.
    """
    here = [row for row in rows if row.kind == "natural" or row.parameters.get("eps", eps) == eps]
    if cumulative:
        order, converged, black_box = (Flag(check, "n/a", "attacks were cumulative") for check in (1, 3, 5))
    else:
        order, converged, black_box = _order(here), _converged(here), _black_box(here)
    return [order, _ladder(rows, eps, classes), converged, gradients(rows, eps, diagnosis), black_box,
            _same_path(here, baseline), _standard_autoattack(here, is_random), normalisation(diagnosis)]


def _paired(first: Row, second: Row) -> tuple[Row, Row]:
    """Both rows on the images that both have."""
    count = min(len(first.outcome.correct), len(second.outcome.correct))
    return replace(first, outcome=first.outcome.first(count)), replace(second, outcome=second.outcome.first(count))


def _higher(stronger: Row, weaker: Row, level: float = SURE) -> tuple[float, float, float]:
    """How much higher the accuracy under the stronger attack is, with the interval."""
    one, other = (row.outcome for row in _paired(stronger, weaker))
    return difference_interval(one.correct, other.correct, one.groups if one.groups is not None else other.groups,
                               level)


def _order(rows: Sequence[Row]) -> Flag:
    """1. Clean >= FGSM >= PGD with more and more steps >= AutoAttack; and a frozen path >= averaging over paths."""
    pairs = []
    for stronger in rows:
        for weaker in rows:
            same_protocol = stronger.outcome.protocol == weaker.outcome.protocol or weaker.kind == "natural"
            strengths = weaker.strength, stronger.strength
            averaging = (stronger.parameters == weaker.parameters and stronger.samples > weaker.samples
                         and stronger.protocol.average == "losses" == weaker.protocol.average
                         and weaker.outcome.protocol != "same-path" and stronger.kind != "natural")
            if (same_protocol and None not in strengths and strengths[0] < strengths[1]) or averaging:  # type: ignore[operator]
                pairs.append(_paired(weaker, stronger))
    wrong, doubtful = [], []
    for weaker, stronger in pairs:
        middle, low, _ = _higher(stronger, weaker)
        if low > 0 and not (_one_frozen_path(stronger) or _one_frozen_path(weaker)):
            wrong.append((weaker, stronger, middle))
        elif middle > TOLERANCE and _higher(stronger, weaker, 0.95)[1] > 0:
            doubtful.append((weaker, stronger, middle))
    if not pairs:
        return Flag(1, "n/a", "no two attacks to compare")
    said = wrong or doubtful
    if not said:
        return Flag(1, "PASS", f"no stronger attack left more accuracy ({len(pairs)} pairs)")
    worst = max(said, key=lambda item: item[2])
    text = f"{worst[1]} is {100 * worst[2]:.1f} points above {worst[0]}"
    text += f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return Flag(1, "FAIL" if wrong else "WARN", text,
                tuple(dict.fromkeys(stronger.outcome.key for _, stronger, _ in wrong)))


def _one_frozen_path(row: Row) -> bool:
    """Whether all images were attacked through one path: how another would have done is not in the interval."""
    groups = row.outcome.groups
    return groups is not None and row.samples == 0 and row.kind != "natural" and len(set(groups.tolist())) == 1


def _ladder(rows: Sequence[Row], eps: float, classes: int) -> Flag:
    """2. Accuracy falls as eps grows, to chance by 64/255."""
    by_eps = {0.0: rows[0]} if rows and rows[0].kind == "natural" else {}
    most = max((strength(row.protocol) for row in rows), default=None)
    for row in sorted((row for row in rows if row.plain and row.outcome.protocol != "same-path"),
                      key=lambda row: (strength(row.protocol) == most, int(row.parameters["steps"]))):
        by_eps[float(row.parameters["eps"])] = row
    count = min((len(row.outcome.correct) for row in by_eps.values()), default=0)  # the same images throughout
    by_eps = {size: replace(row, outcome=row.outcome.first(count)) for size, row in by_eps.items()}
    steps = [by_eps[size] for size in sorted(by_eps)]
    if len(steps) < 3:
        return Flag(2, "n/a", "too few values of eps")
    said = ", ".join(f"{in_255ths(size)}: {100 * by_eps[size].outcome.accuracy:.1f}" for size in sorted(by_eps))
    for before, after in pairwise(steps):
        if _higher(after, before)[1] > 0:
            return Flag(2, "FAIL", f"accuracy rises with eps ({said})")
    chance = 1 / classes
    large = [size for size in by_eps if size >= 64 / 255 - 1e-9]
    if not large:
        return Flag(2, "PASS", f"accuracy falls as eps grows ({said}); 64/255 was not tried")
    if by_eps[min(large)].outcome.interval[0] <= chance:
        return Flag(2, "PASS", f"falls to chance ({said})")
    if by_eps[max(large)].outcome.interval[0] <= chance and max(large) > min(large):
        return Flag(2, "WARN", f"above chance ({100 * chance:.0f} %) at {in_255ths(min(large))} ({said})")
    return Flag(2, "FAIL", f"above chance ({100 * chance:.0f} %) however large eps is ({said})")


def _converged(rows: Sequence[Row]) -> Flag:
    """3. More steps, restarts or samples change little."""
    pairs = []
    pgd = [row for row in rows if row.kind == "pgd" and row.outcome.protocol != "same-path"]
    for one in pgd:
        for other in pgd:
            different = {name for name, value in one.parameters.items() if other.parameters.get(name) != value}
            more_work = different in ({"steps"}, {"restarts"}) and one.outcome.protocol == other.outcome.protocol and (
                all(other.parameters[name] > one.parameters[name] for name in different))
            more_samples = (not different and 0 < one.samples < other.samples
                            and one.protocol.average == other.protocol.average)
            if (more_work and one.parameters["steps"] >= 20) or (more_samples and one.samples >= 5):
                pairs.append(_paired(one, other))
    if not pairs:
        return Flag(3, "n/a", "no attack was run with more steps, restarts or samples")
    drops = [(_higher(less, more, 0.95), less, more) for less, more in pairs]
    # the surest large drop decides; of none, the largest
    (drop, low, _), less, more = max(drops, key=lambda item: (max(item[0][1], 0) if item[0][0] > TOLERANCE else 0,
                                                              item[0][0]))
    text = f"from {less} to {more}: {_change(-drop)} (tolerance {100 * TOLERANCE:.0f})"
    if drop <= TOLERANCE or low <= 0:
        return Flag(3, "PASS", text)
    return Flag(3, "FAIL" if low > 2 * TOLERANCE else "WARN", f"attack not converged: {text}")


def _black_box(rows: Sequence[Row]) -> Flag:
    """5. No attack without gradients, or with another network's, beats those with."""
    found: list[tuple[tuple[float, float, float], Row, Row]] = []
    for black in rows:
        if black.black_box:
            # transferred images know no path: whatever was averaged over, white-box attacks should do better
            white = [row for row in rows if row.white_box and (
                row.outcome.protocol == black.outcome.protocol
                or (black.kind == "transfer" and row.outcome.protocol != "same-path"))]
            if white:
                paired = [_paired(row, black) for row in white]
                best, same = min(paired, key=lambda pair: pair[0].outcome.accuracy)
                found.append((_higher(best, same), same, best))
    if not found:
        return Flag(5, "n/a", "no black-box attack beside a white-box one")
    (gap, low, _), black, white_box = max(found, key=lambda item: (max(item[0][1], 0), item[0][0]))
    text = f"{black} against {white_box}"
    if low > 0:
        return Flag(5, "FAIL", f"a black-box attack is stronger by {100 * gap:.1f} points: {text}")
    return Flag(5, "WARN" if gap > 0 and _higher(white_box, black, 0.95)[1] > 0 else "PASS", text)


def _same_path(rows: Sequence[Row], baseline: Sequence[Row]) -> Flag:
    """6. One sub-network is about as robust as the deterministic baseline: the worst of all attacks that both met."""
    pairs = [_paired(mine, theirs) for mine in rows for theirs in baseline
             if mine.outcome.protocol == "same-path" and mine.plain and theirs.parameters == mine.parameters]
    if not pairs:
        return Flag(6, "n/a", "no deterministic baseline beside a same-path row")
    judged = [(_same_path_status(mine, theirs), _higher(mine, theirs)[0], mine, theirs) for mine, theirs in pairs]
    status, gap, mine, theirs = max(judged, key=lambda each: (("PASS", "WARN", "FAIL").index(each[0]), each[1]))
    text = f"{mine} against the baseline's {theirs}"
    more = f" (the worst of {len(pairs)} attacks)" if len(pairs) > 1 else ""
    return Flag(6, status, f"{text}: {_change(gap)}{more}" if status == "PASS" else
                f"one frozen path is more robust than the baseline by {100 * gap:.1f} points: {text}{more}")


def _same_path_status(mine: Row, theirs: Row) -> Status:
    low = _higher(mine, theirs)[1]
    if low > 0.1 and not _one_frozen_path(mine):
        return "FAIL"
    return "WARN" if low > TOLERANCE else "PASS"


def _standard_autoattack(rows: Sequence[Row], is_random: bool) -> Flag:
    """7. Standard AutoAttack says little about a randomised model."""
    standard = [row for row in rows if row.kind == "autoattack" and not row.samples]
    if not is_random or not standard:
        return Flag(7, "n/a", "no randomised model attacked by standard AutoAttack")
    rand = [row for row in rows if row.kind == "autoattack" and row.samples]
    beside = f"rand gave {rand[0]}" if rand else "rand was not run (suite adaptive has it)"
    return Flag(7, "WARN", f"standard AutoAttack stops at its first success on the frozen path and hands back the "
                           f"clean image where it fails: {standard[0]}; {beside}")


def _change(change: float) -> str:
    return f"{round(100 * change, 1) + 0.0:+.1f} points"  # + 0.0: no -0.0
