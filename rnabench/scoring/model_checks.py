"""Sanity checks 4 and 8: what was seen of the model itself (see `Diagnosis`), and which rows that concerns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnabench.scoring.flag import SURE, Flag, Row
from rnabench.scoring.interval import difference_interval
from rnabench.scoring.outcome import from_bits

FEW = 0.1  # a larger share of images with a gradient of zero spoils the attacks that follow it
LOSS_NAMES = {"ce": "cross-entropy", "margin": "margin loss", "dlr": "DLR loss"}


def gradients(rows: Sequence[Row], eps: float, diagnosis: Mapping[str, Any]) -> Flag:
    """4. Zero gradients, probabilities for logits, training mode, changed buffers.

    Zero gradients concern the rows whose attacks follow that loss (all of its losses, for an ensemble); the other
    signs concern all rows. `eps` is that of the attacks without gradients that are cited.
    """
    shares = zero_gradients(diagnosis)
    used = {loss for row in rows for loss in row.losses}
    spoilt = {loss for loss, share in shares.items() if share > FEW}
    marked = tuple(dict.fromkeys(row.outcome.key for row in rows if row.losses and row.losses <= spoilt))
    bad: list[str] = []
    odd: list[str] = []
    if set(shares) > {"ce"} and min(shares.values()) == 1:
        (bad if marked else odd).append(_no_gradient(rows, eps))
    else:
        for loss, share in shares.items():
            if share > 0 and loss in used:
                said = f"{100 * share:.0f} % of the images have a gradient of exactly zero ({LOSS_NAMES[loss]})"
                (bad if share > FEW and marked else odd).append(said)
    everything = []
    if diagnosis["probabilities"]:
        everything.append("the outputs are probabilities, not logits")
    if diagnosis["changed"]:
        everything.append(f"attacks changed buffers ({', '.join(diagnosis['changed'][:3])})")
    if diagnosis["was_training"]:
        odd.append("the model came in training mode; it was evaluated in evaluation mode")
    text = "; ".join(bad + everything + odd) or (
        f"no zero gradients ({diagnosis['images']} images), logits, buffers unchanged")
    return Flag(4, "FAIL" if bad or everything else "WARN" if odd else "PASS", text,
                marked if bad and not everything else ())


def zero_gradients(diagnosis: Mapping[str, Any]) -> dict[str, float]:
    """By loss, the share of images with a gradient of zero. Older records know that of cross-entropy only."""
    shares = diagnosis["zero_gradients"]
    return dict(shares) if isinstance(shares, Mapping) else {"ce": float(shares)}


def _no_gradient(rows: Sequence[Row], eps: float) -> str:
    """What a model without gradients is still known to lose: to attacks that need none of it."""
    said = []
    for kind, name in (("square", "Square"), ("transfer", "transfer")):
        attacks = [row for row in rows if row.kind == kind and row.parameters["eps"] == eps]
        if not attacks:
            said.append(f"no {name} attack was run")
            continue
        row = min(attacks, key=lambda row: row.outcome.accuracy)
        source = f" from {row.parameters['surrogate']}" if kind == "transfer" else ""
        said.append(f"{' / '.join(row.outcome.key)}{source} left {100 * row.outcome.accuracy:.1f} %")
    return f"no gradient reaches the images: gradient attacks say nothing; {', '.join(said)}"


def normalisation(diagnosis: Mapping[str, Any]) -> Flag:
    """8. The input is normalised once: with images that are normalised beforehand, or the other way round, the model is
    not more often right."""
    seen = diagnosis.get("normalisation")
    if not seen:
        return Flag(8, "n/a", "not looked at")
    right = {images: from_bits(text)[:, None] for images, text in seen.items()}
    share = {images: f"{100 * bits.mean():.1f} %" for images, bits in right.items()}
    faults = {"normalised": "the input is not normalised at all", "unnormalised": "the input is normalised twice"}
    words = {"normalised": "if (x - mean) / std comes first", "unnormalised": "if x * std + mean comes first"}
    of_how_many = f"({len(right['given'])} images on one path)"
    looked_at = [images for images in faults if images in right]
    if not looked_at:
        return Flag(8, "PASS", f"natural accuracy {share['given']} {of_how_many}; images that leave [0, 1] are refused")
    worst = max(looked_at, key=lambda images: float(right[images].mean()))
    gap, low, _ = difference_interval(right[worst], right["given"], None, SURE)
    if low > 0:
        return Flag(8, "FAIL", f"{faults[worst]}: natural accuracy {share['given']}, but {share[worst]} {words[worst]} "
                               f"({100 * gap:+.1f} points, {len(right[worst])} images)")
    others = ", ".join(f"{share.get(images, 'refused')} {words[images]}" for images in faults)
    return Flag(8, "PASS", f"natural accuracy {share['given']} {of_how_many}; {others}")
