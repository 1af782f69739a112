"""`rnabench conform`: whether anybody's network can be judged, before anything is attacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer
from rnabench.cli.options import Change, only

if TYPE_CHECKING:
    from rnabench.settings.evaluation import EvaluationSettings

COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "n/a": "dim"}


def conform(
    model: Annotated[str, typer.Argument(help="package.module:factory, or the name under which an installed package "
                                              "registers it.")],
    data: Annotated[dict[str, Any], o.data("Data set that the network is for.", "digits")],
    settings: Annotated[EvaluationSettings, only("precision", "seed", n_examples=Change(
        default=64, help="Test images to look at it with, at once."))],
    model_args: o.ModelArgs = None,
    model_weights: o.ModelWeights = None,
    device: o.Device = "auto",
) -> Answer:
    """Say whether anybody's network can be judged: what it takes and returns, where its randomness comes from, whether
    a draw can be frozen, its gradients, its cost.

    A line for each check, PASS, WARN or FAIL with the numbers that decided; exit code 1 if any failed. Nothing is
    written and nothing is attacked.
    """
    from rnabench.cli.console import console, marked
    from rnabench.jobs.conform import conform as look_at
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DataSettings
    from rnabench.settings.imported import Imported

    found = look_at(Imported.of(model, model_args or (), model_weights), from_options(DataSettings, data), settings,
                    device)
    for each in found:
        console().print(marked(f"{each.status:4}", COLOURS[each.status], f"{each.check:10} {each.text}"),
                        soft_wrap=True)
    return {"failed": any(each.status == "FAIL" for each in found), "checks": [
        {"check": each.check, "status": each.status, "text": each.text} for each in found]}
