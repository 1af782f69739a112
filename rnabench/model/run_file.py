"""What a run.json says, typed: what a network is built from, and what its records say of it. Loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Versions = dict[str, int]


class _Said(BaseModel):
    """A part of the file: of just the types that it states where it has them, and more besides, by name."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())


class NetworkSaid(_Said):
    """What a network is built from."""

    arch: str
    space: str
    width: Annotated[int, Field(ge=1, le=1024)]
    operators: Annotated[int, Field(ge=1, le=16)] | None = None
    classes: Annotated[list[str], Field(min_length=2)]
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]
    layer_based: bool
    granularity: Literal["batch", "sample"]
    activation: str | None = None
    denoise: str | None = None
    denoise_at: str | None = None
    defence: str | None = None
    parameters: int | None = None
    paths: Annotated[str, Field(pattern="^[0-9]{1,4000}$")] | None = None


class RecipeSaid(_Said):
    """How it was trained."""

    dataset: str | None = None
    data_dir: str | None = None
    dataset_name: str | None = None
    download: bool | None = None
    objective: str | None = None
    select: str | None = None
    seed: int | None = None
    init: str | None = None
    teacher: RecipeSaid | None = None


class TeacherSaid(_Said):
    algorithms: Versions | None = None
    digest: str | None = None
    weights_sha256: str | None = None


class DataSaid(_Said):
    name: str | None = None
    fingerprint: str | None = None


class RoundedSaid(_Said):
    """Weights that were rounded after training."""

    to: Literal["bfloat16"]
    from_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RunSaid(_Said):
    """Of a run whose network can be built."""

    model: NetworkSaid
    recipe: RecipeSaid
    status: str | None = None
    digest: str | None = None
    data: DataSaid | None = None
    algorithms: Versions | None = None
    selected: dict[str, Any] | None = None
    teacher: TeacherSaid | None = None
    rounded: RoundedSaid | None = None
    weights_sha256: str | None = None


class WholeRecipe(RecipeSaid):
    dataset: str
    data_dir: str | None
    dataset_name: str | None
    download: bool
    objective: str


class WholeData(DataSaid):
    name: str


class WholeNetwork(NetworkSaid):
    parameters: int
    paths: Annotated[str, Field(pattern="^[0-9]{1,4000}$")]


class WholeRun(RunSaid):
    """Of a run that can be attacked: with all that a record says of it."""

    model: WholeNetwork
    recipe: WholeRecipe
    digest: str
    data: WholeData
