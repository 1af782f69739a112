"""AutoAttack (Croce and Hein 2020) by the package pyautoattack."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from rnabench.attack.attack import LibraryAttack
from rnabench.attack.libraries import guarded
from rnabench.attack.threat import Threat
from rnabench.errors import InvalidValue
from rnabench.settings.attacks import ATTACKS, CrossCheck

RAND, STANDARD = "apgd-ce, apgd-dlr", "apgd-ce, apgd-t, fab-t, square"


@ATTACKS.register("autoattack")
class AutoAttack(LibraryAttack):
    """`samples` 0 is version `standard` (APGD-CE, targeted APGD-DLR, targeted FAB, Square), for a view without
    randomness; otherwise version `rand` (APGD-CE, APGD-DLR) with so many draws per step. Where it fails it hands back
    the image as it was. Its own state file cannot be resumed, so the caller keeps what is finished.
    """

    library = "pyautoattack"
    summary = ("the ensemble, by pyautoattack: `standard` on a frozen path or a deterministic model, "
                              "`rand` under eot:K")
    paper = "Croce and Hein 2020"
    version = 2
    random_start = True
    crosschecks = (CrossCheck("autoattack", "pyautoattack", 16),)

    @property
    def strength(self) -> float | None:
        return math.inf

    @property
    def losses(self) -> frozenset[str]:
        return frozenset({"ce", "dlr"})

    @property
    def least_classes(self) -> int:
        return 4

    def passes(self, is_random: bool, classes: int) -> tuple[float, float]:
        targets = min(9, classes - 1)
        return (202, 10) if is_random else (101 + targets * 101 + targets * 300, 5000)

    def of_library(self, samples: int) -> dict[str, object]:
        return {"version": "rand", "attacks": RAND, "eot_iter": samples} if samples else {
            "version": "standard", "attacks": STANDARD}

    def torchattacks(self, norm: str, eps: float, classes: int, samples: int) -> tuple[str, dict[str, Any]] | None:
        options = {"norm": norm, "eps": eps, "version": "standard", "n_classes": classes}
        return None if samples else ("AutoAttack", options)

    def call(self, view: nn.Module, images: Tensor, labels: Tensor, threat: Threat, classes: int, seed: int,
             samples: int = 0) -> Tensor:
        """Raises InvalidValue for fewer than 4 classes."""
        import pyautoattack

        if classes < 4:
            raise InvalidValue("attack", "autoattack", f"apgd-ce or square for {classes} classes (DLR losses need 4)")
        with guarded(seed):
            runner: Any = pyautoattack.AutoAttack(view, norm=threat.norm, eps=threat.eps, device=images.device,
                                                  version="rand" if samples else "standard", seed=seed % 2**31)
            runner.verbose = False
            for part in (runner.apgd_targeted, runner.fab):
                part.n_target_classes = min(part.n_target_classes, classes - 1)
            if samples:
                runner.apgd.eot_iter = samples
            found, _ = runner.run_standard_evaluation(images.contiguous(), labels, batch_size=len(images))
        adversarial: Tensor = found.detach().to(memory_format=torch.channels_last)
        return adversarial
