"""The second backend: torchattacks, called as the paper's authors did. For cross-checks, never for a headline."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rnabench.attack.library import guarded
from rnabench.errors import InvalidValue


def torchattacks_attack(name: str, view: nn.Module, images: Tensor, labels: Tensor, norm: str, classes: int,
                        values: dict[str, Any], seed: int, samples: int = 0) -> Tensor:
    """Adversarial images by the library's attack with these parameters (as `catalogue.resolved` gives them).

    `samples` > 0 asks for its EOT attacks. Its mistakes are kept as they are, but for one: images that its MI-FGSM
    turns to NaN (a gradient of zero, divided by its mean) are handed back as they were. Raises InvalidValue for what it
    cannot do.
    """
    with guarded(seed):
        attack = _attack(name, view, norm, classes, values, samples)
        found: Tensor = attack(images.contiguous(), labels)
    found = torch.where(found.flatten(1).isfinite().all(1).view(-1, 1, 1, 1), found.detach(), images)
    return found.to(memory_format=torch.channels_last)


def _attack(name: str, view: nn.Module, norm: str, classes: int, values: dict[str, Any], samples: int) -> Any:
    import torchattacks as ta

    kind, eps = values["kind"], values.get("eps")
    plain = values.get("loss") == "ce" and values.get("restarts") == 1
    if samples:
        if kind == "pgd" and plain and norm == "Linf":
            return ta.EOTPGD(view, eps=eps, alpha=values["step_size"], steps=values["steps"], eot_iter=samples)
        raise InvalidValue("attack", name, "pgdN under eot:K (torchattacks has no other EOT attack), or protocol paper "
                                           "or same-path", ("pgd20",))
    if kind == "cw" and values["searches"] == 0:
        return ta.CW(view, c=values["c"], kappa=values["kappa"], steps=values["steps"], lr=values["lr"])
    if kind == "deepfool":
        return ta.DeepFool(view, steps=values["steps"], overshoot=values["overshoot"])
    if kind == "autoattack":
        return ta.AutoAttack(view, norm=norm, eps=eps, version="standard", n_classes=classes)
    if kind == "apgd" and values["loss"] in ("ce", "dlr"):
        return ta.APGD(view, norm=norm, eps=eps, steps=values["steps"], n_restarts=values["restarts"],
                       loss=values["loss"])
    if kind == "apgd" and values["loss"] == "t":
        return ta.APGDT(view, norm=norm, eps=eps, steps=values["steps"], n_restarts=values["restarts"],
                        n_classes=min(classes, values["targets"] + 1))
    if kind == "square":
        return ta.Square(view, norm=norm, eps=eps, n_queries=values["queries"])
    if norm == "Linf" and kind == "fgsm":
        return ta.FGSM(view, eps=eps)
    if norm == "Linf" and kind == "bim":
        return ta.BIM(view, eps=eps, alpha=values["step_size"], steps=values["steps"])
    if norm == "Linf" and kind == "mifgsm":
        return ta.MIFGSM(view, eps=eps, alpha=values["step_size"], steps=values["steps"], decay=values["decay"])
    if kind == "pgd" and plain:
        if norm == "Linf":
            return ta.PGD(view, eps=eps, alpha=values["step_size"], steps=values["steps"], random_start=True)
        return ta.PGDL2(view, eps=eps, alpha=values["step_size"], steps=values["steps"], random_start=True)
    raise InvalidValue("attack", name, f"an attack that torchattacks has for norm {norm}, or --backend native")
