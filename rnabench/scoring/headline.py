"""The headline of a model: what is left when every example meets the attack that is worst for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnabench.scoring.outcome import Outcome


@dataclass(frozen=True)
class Headline:
    """The pointwise worst case over attacks.

    `outcome.correct` [N, D]: right under the attack chosen for the example. `worst`: the share of examples that are
    right under every attack on every draw.
    """

    outcome: Outcome
    attacks: tuple[str, ...]
    worst: float


def worst_case(outcomes: Sequence[Outcome]) -> Headline | None:
    """The pointwise worst case over the outcomes of bounded attacks with one eps on the same images; None for none.

    The attacker knows the distribution of draws, not the draw: an example's attack is the one with the lowest accuracy
    over draws. With several draws it is chosen on one half of them and scored on the other, and the other way round:
    choosing and scoring on the same draws would count the noise of each attack's score as the attacker's skill. If a
    single attack for all examples does better, that is the worst case.
    """
    if not outcomes:
        return None
    stack = np.stack([outcome.correct for outcome in outcomes])
    draws = stack.shape[2]
    every = np.arange(draws)
    halves = [(every[::2], every[1::2]), (every[1::2], every[::2])] if draws > 1 else [(every, every)]
    images = np.arange(stack.shape[1])
    correct = np.empty(stack.shape[1:], dtype=bool)
    for choosing, scoring in halves:
        chosen = stack[:, :, choosing].mean(2).argmin(0)
        correct[:, scoring] = stack[chosen[:, None], images[:, None], scoring[None, :]]
    single = int(stack.mean((1, 2)).argmin())
    if stack[single].mean() < correct.mean():
        correct = stack[single]
    first = outcomes[0]
    protocols = tuple(dict.fromkeys(outcome.protocol for outcome in outcomes))
    outcome = Outcome(
        f"worst case of {len(outcomes)}", "+".join(protocols), correct,
        np.asarray(np.stack([outcome.majority for outcome in outcomes]).all(0)),
        np.asarray(np.stack([outcome.reported for outcome in outcomes]).all(0)), first.groups,
    )
    return Headline(outcome, tuple(" / ".join(outcome.key) for outcome in outcomes), float(stack.all((0, 2)).mean()))
