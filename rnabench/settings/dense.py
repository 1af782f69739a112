"""What `rnabench dense` is set to: Dense Adversary Generation on segmentation and detection networks."""

from __future__ import annotations

from rnabench.settings.base import NExamples, Part, Seed, setting
from rnabench.settings.pixels import Pixels


class DenseSettings(Part):
    """The thesis's settings; `gamma` in pixel units."""

    classes: int = setting(21, "Classes of networks, masks and boxes, with the background, which is 0.", "Data",
                           strict=True, ge=2, le=255)
    n_examples: NExamples = None
    sources: tuple[str, ...] | None = setting(
        None, "Networks that are attacked, by name; the others are shown the images alone.", "Attack", "all",
        min_length=1)
    gamma: Pixels = setting(0.5 / 255, "Largest change of a pixel in a step: a fraction such as 0.5/255, or a decimal.",
                            "Attack", gt=0)
    steps: int | None = setting(None, "Steps at most.", "Attack", "200 for segmentation, 150 for detection",
                                strict=True, ge=1, le=100_000)
    permuted: int = setting(3, "Random permutations of the changes' rows and columns, the control.", "Attack",
                            strict=True, ge=1, le=100)
    seed: Seed = 0
