"""From a description of an attack to the function that runs it."""

from __future__ import annotations

from typing import Any

from rnabench.attack import losses
from rnabench.attack.apgd import APGD
from rnabench.attack.attack import Attack
from rnabench.attack.carlini_wagner import CarliniWagner
from rnabench.attack.deepfool import DeepFool
from rnabench.attack.gradient import PGD
from rnabench.attack.square import Square
from rnabench.attack.threat import Linf, threat
from rnabench.errors import InvalidValue


def build(name: str, norm: str, values: dict[str, Any]) -> Attack:
    """The native attack with these parameters, as `catalogue.resolved` gives them. Raises InvalidValue for a norm
    that it does not know."""
    kind = values["kind"]
    if kind == "cw":
        return CarliniWagner(values["steps"], values["c"], values["kappa"], values["lr"], values["searches"])
    if kind == "deepfool":
        return DeepFool(values["steps"], values["overshoot"], values["candidates"])
    ball = threat(norm, values["eps"])
    if kind == "square":
        if not isinstance(ball, Linf):
            raise InvalidValue("attack", name, f"another attack for norm {norm}: square is for Linf")
        return Square(ball, values["queries"])
    if kind == "apgd":
        loss = losses.LOSSES.get(values["loss"], losses.dlr)
        return APGD(ball, values["steps"], values["restarts"], loss, values.get("targets", 0))
    return PGD(ball, values["step_size"], values.get("steps", 1), values["random_start"], values.get("restarts", 1),
               values.get("decay"), losses.LOSSES[values.get("loss", "ce")])
