"""The network of a record: what it is, how it was trained, and how it was used."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rnabench.report.stored import Stored

Versions = dict[str, int]
"""Of algorithms, by name."""


class Device(Stored):
    device: str = Field(description="as torch names it")
    name: str = ""
    threads: int | None = Field(default=None, description="of the CPU; null of a GPU")
    formats: dict[str, str | None] | None = Field(default=None, description="by operation, what it was computed in")


class Training(Stored):
    """How the network was trained; all null for a network that was trained elsewhere."""

    git: str | None = None
    versions: dict[str, str] | None = None
    device: Device | None = None
    algorithms: Versions | None = None


class Deployed(Stored):
    """How the network was used, as far as that is not the default."""

    statistics: str = Field(default="own", description="where its batch normalisers took their statistics: own, "
                            "running, batch, running-mean; several joined by +: a choice between them in every layer")
    average: int = Field(default=1, ge=1, description="fresh paths whose logits were averaged in every forward pass")
    branch: str = Field(default="own", description="branch of its mixture BNs that normalised: own, clean, adv; both "
                        "joined by +: a choice between them in every layer")


class Network(Stored):
    """The network that was attacked. Anybody's has neither architecture nor training here, but the hashes of `code`."""

    label: str
    method: str | None = Field(default=None, description="what its trainings have in common: its name in the recipe")
    training_seed: int | None = None
    digest: str | None = Field(default=None, description="of its training recipe")
    weights_sha256: str
    code: dict[str, Any] | None = Field(default=None, description="hashes of a foreign network's source and logits")
    trained_on: dict[str, Any] | None = None
    selected: dict[str, Any] | None = Field(default=None, description="the epoch that these weights are of")
    training: Training | None = None
    arch: str | None = None
    space: str | None = Field(default=None, description="of norms, as in bn+in")
    width: int | None = None
    activation: str | None = Field(default=None, description="in the place of its ReLUs; null: they are there")
    denoise: str | None = Field(default=None, description="its denoising blocks; null: none")
    denoise_at: str | None = Field(default=None, description="where those stand; null: behind its stages")
    defence: str | None = Field(default=None, description="its random defence; null: none")
    layer_based: bool | None = None
    paths: str | None = Field(default=None, pattern=r"^[0-9]{1,4000}$", description="how many there are, in decimal")
    deployed: Deployed | None = Field(default=None, description="null: used as it was trained to be")
    parameters: int | None = None
    objective: str | None = None
    randomised: bool
    batch_dependent: bool | None = Field(default=None, description="predictions depend on an image's batch mates, so "
                                         "that evaluation.batch_size decides them; null: older, not said")
    recipe: dict[str, Any] | None = None
    rounded: str | None = Field(default=None, description="what its weights were rounded to after training; null: they "
                                "are those that were trained")
    imported: dict[str, Any] | None = Field(default=None, description="of a foreign network: its factory, that one's "
                                            "arguments, and the name of its file of weights")
    random_sources: list[str] | None = Field(default=None, description="of a foreign network: what it takes its "
                                             "random numbers from; empty: deterministic")
    replayable: bool | None = Field(default=None, description="of a foreign network: a seed fixes its draws")
    differentiable: bool | None = Field(default=None, description="of a foreign network: a gradient reaches the images")
