"""The best mixture over paths: with which probabilities a defender should draw them, and what that leaves.

`right` [A, N, P] in {0, 1} (or shares): whether path p classifies image i correctly in the version of it that attack a
found. The defender draws path p with probability q_p, knowing which images the attacker has; for each image the
attacker takes the version that is worst under q. The defender's best is

    max over q of the mean over images of min over attacks of sum over p of q_p right[a, i, p],

a zero-sum game against finitely many attacks, and a linear programme.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack, kron

from rnabench.errors import NumericalError

Numbers = NDArray[np.float64]


def values(right: NDArray[Any], mixture: Numbers) -> Numbers:
    """What each image is worth under a mixture [P], [N]: the chance that it is classified correctly in the version
    that is worst for it."""
    return np.asarray((right @ mixture).min(0), dtype=np.float64)


def best_mixture(right: NDArray[Any]) -> Numbers:
    """The mixture [P] that leaves most on the images of `right` [A, N, P]. Raises NumericalError if the solver fails.

    The variables are q [P] and the worth v_i of each image: max mean v, with v_i <= sum_p q_p right[a, i, p] for every
    attack a.
    """
    attacks, images, paths = right.shape
    if paths == 1:
        return np.ones(1)
    bounds = hstack([csr_array(-right.reshape(attacks * images, paths).astype(float)),
                     kron(np.ones((attacks, 1)), eye_array(images))], format="csr")
    found = linprog(np.concatenate([np.zeros(paths), np.full(images, -1 / images)]), A_ub=bounds,
                    b_ub=np.zeros(attacks * images), A_eq=np.concatenate([np.ones(paths), np.zeros(images)])[None],
                    b_eq=np.ones(1), method="highs")
    if found.x is None:
        raise NumericalError(f"best mixture: {found.message}; expected a solution, which every such game has")
    mixture = np.maximum(found.x[:paths], 0)
    return np.asarray(mixture / mixture.sum(), dtype=np.float64)


@dataclass(frozen=True)
class Mixtures:
    """What the best mixture, the best single path and the uniform mixture are worth, [N] each: `mixture` and `single`
    chosen on one half of the images and scored on the other, and the other way round, so that no image has a say in
    what it is scored under. `chosen`: both mixtures [2, P]; `in_sample`: the best one of all images, on these."""

    mixture: Numbers
    single: Numbers
    uniform: Numbers
    chosen: Numbers
    in_sample: float
    overall: Numbers

    @classmethod
    def of(cls, right: NDArray[Any]) -> Mixtures:
        """Of `right` [A, N, P], N at least 2. The halves are the images of even and of odd number."""
        images, paths = right.shape[1:]
        uniform, number = np.full(paths, 1 / paths), np.arange(images)
        mixture, single, chosen = np.empty(images), np.empty(images), []
        for half in (0, 1):
            choosing, scoring = right[:, number % 2 != half], number % 2 == half
            chosen.append(best_mixture(choosing))
            mixture[scoring] = values(right[:, scoring], chosen[-1])
            best = int(np.argmax([values(choosing, path).mean() for path in np.eye(paths)]))
            single[scoring] = values(right[:, scoring], np.eye(paths)[best])
        overall = best_mixture(right)
        return cls(mixture, single, values(right, uniform), np.stack(chosen), float(values(right, overall).mean()),
                   overall)
