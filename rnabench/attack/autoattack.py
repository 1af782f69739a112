"""AutoAttack (Croce and Hein 2020) by the package pyautoattack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnabench.attack.library import guarded
from rnabench.errors import InvalidValue

RAND, STANDARD = "apgd-ce, apgd-dlr", "apgd-ce, apgd-t, fab-t, square"


def autoattack(view: nn.Module, images: Tensor, labels: Tensor, norm: str, eps: float, classes: int, seed: int,
               samples: int = 0) -> Tensor:
    """Adversarial images; `view` maps images to logits and draws its own paths, if any.

    `samples` 0 is version `standard` (APGD-CE, targeted APGD-DLR, targeted FAB, Square), for a view without randomness;
    otherwise version `rand` (APGD-CE, APGD-DLR) with so many draws per step. Where it fails it hands back the image as
    it was. Its own state file cannot be resumed, so the caller keeps what is finished. Raises InvalidValue for fewer
    than 4 classes.
    """
    import pyautoattack

    if classes < 4:
        raise InvalidValue("attack", "autoattack", f"apgd-ce or square for {classes} classes (DLR losses need 4)")
    with guarded(seed):
        runner: Any = pyautoattack.AutoAttack(view, norm=norm, eps=eps, version="rand" if samples else "standard",
                                              seed=seed % 2**31, device=images.device)
        runner.verbose = False
        for part in (runner.apgd_targeted, runner.fab):
            part.n_target_classes = min(part.n_target_classes, classes - 1)
        if samples:
            runner.apgd.eot_iter = samples
        found, _ = runner.run_standard_evaluation(images.contiguous(), labels, batch_size=len(images))
    adversarial: Tensor = found.detach().to(memory_format=torch.channels_last)
    return adversarial


def version(samples: int) -> dict[str, Any]:
    """What a record says of the version that runs."""
    return {"version": "rand", "attacks": RAND, "eot_iter": samples} if samples else {
        "version": "standard", "attacks": STANDARD}
