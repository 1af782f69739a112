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
    import torchattacks

    kind, options = library_call(name, norm, classes, values, samples)
    with guarded(seed):
        found: Tensor = getattr(torchattacks, kind)(view, **options)(images.contiguous(), labels)
    found = torch.where(found.flatten(1).isfinite().all(1).view(-1, 1, 1, 1), found.detach(), images)
    return found.to(memory_format=torch.channels_last)


def library_call(name: str, norm: str, classes: int, values: dict[str, Any], samples: int
                 ) -> tuple[str, dict[str, Any]]:
    """The library's class and its arguments for this attack. Raises InvalidValue if it has none."""
    kind, eps, loss = values["kind"], values.get("eps"), values.get("loss")
    plain = loss == "ce" and values.get("restarts") == 1
    steps = {"alpha": values.get("step_size"), "steps": values.get("steps")}
    if samples:
        if kind == "pgd" and plain and norm == "Linf":
            return "EOTPGD", {"eps": eps, **steps, "eot_iter": samples}
        raise InvalidValue("attack", name, "pgdN under eot:K (torchattacks has no other EOT attack), or protocol paper "
                                           "or same-path", ("pgd20",))
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "deepfool": ("DeepFool", {"steps": values.get("steps"), "overshoot": values.get("overshoot")}),
        "autoattack": ("AutoAttack", {"norm": norm, "eps": eps, "version": "standard", "n_classes": classes}),
        "square": ("Square", {"norm": norm, "eps": eps, "n_queries": values.get("queries")}),
    }
    if values.get("searches") == 0:
        known["cw"] = "CW", {name: values[name] for name in ("c", "kappa", "steps", "lr")}
    if loss in ("ce", "dlr", "t"):
        shared = {"norm": norm, "eps": eps, "steps": values.get("steps"), "n_restarts": values.get("restarts")}
        targeted = {**shared, "n_classes": min(classes, values.get("targets", 9) + 1)}
        known["apgd"] = ("APGDT", targeted) if loss == "t" else ("APGD", {**shared, "loss": loss})
    if norm == "Linf":
        known |= {"fgsm": ("FGSM", {"eps": eps}), "bim": ("BIM", {"eps": eps, **steps}),
                  "mifgsm": ("MIFGSM", {"eps": eps, **steps, "decay": values.get("decay")})}
    if plain:
        known["pgd"] = "PGD" if norm == "Linf" else "PGDL2", {"eps": eps, **steps, "random_start": True}
    if kind not in known:
        raise InvalidValue("attack", name, f"an attack that torchattacks has for norm {norm}, or --backend native")
    return known[kind]
