"""Several tests that share one error rate: Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

ERROR_RATE = 0.05  # of a family of tests: all claims of a table, all its verdicts


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: those below 0.05 may all be called significant, and the chance that
    any of them is wrong is at most 5 %, whatever the tests have in common.

    The smallest of m is multiplied by m, the next one by m - 1 and so on; none gets below a smaller one's, none above
    1. A p-value that is not a number, of a test that could not be made, counts as 1.
    """
    judged = [1.0 if p != p else min(max(float(p), 0.0), 1.0) for p in p_values]
    adjusted, largest = [1.0] * len(judged), 0.0
    for place, number in enumerate(sorted(range(len(judged)), key=judged.__getitem__)):
        largest = max(largest, (len(judged) - place) * judged[number])
        adjusted[number] = min(1.0, largest)
    return adjusted
