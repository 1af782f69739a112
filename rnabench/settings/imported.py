"""A network that somebody else brings: where its factory is, what that is called with, and which weights it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field, JsonValue, ValidationError, field_validator

from rnabench.errors import InvalidSettings, InvalidValue, all_at_once
from rnabench.settings.base import Part, problems
from rnabench.settings.documents import Unreadable, parse_yaml


class Words(NamedTuple):
    """What a user calls the three things, where they were written."""

    reference: str
    arguments: str
    weights: str


TYPED = Words("--model", "--model-args", "--model-weights")
IN_RECIPE = Words("import", "args", "weights")


def is_imported(own: object) -> bool:
    """Whether what a recipe says of a model is that somebody else brings it."""
    return isinstance(own, Mapping) and "import" in own


class Imported(Part):
    """`reference` (in a recipe `import`): `package.module:factory`, or the name under which an installed package
    registers a defence. `args`: keyword arguments of the factory. `weights`: a file of tensors for what it returns, a
    safetensors file or a state_dict that torch.save wrote."""

    model_config = ConfigDict(populate_by_name=True)

    reference: str = Field(alias="import", min_length=1)
    args: dict[str, JsonValue] = Field({})
    weights: Path | None = None

    @field_validator("args", mode="before")
    @classmethod
    def _args(cls, value: Any) -> Any:
        if isinstance(value, dict) and not all(isinstance(key, str) and key.isidentifier() for key in value):
            raise ValueError("expected arguments by name, such as {width: 32}")
        return value

    @classmethod
    def if_asked(cls, reference: str | None, arguments: Sequence[str] | None, weights: Path | None) -> Imported | None:
        """`of`, or None for no reference. Raises InvalidValue for arguments or weights without one."""
        if reference is not None:
            return cls.of(reference, arguments or (), weights)
        if given := arguments or weights:
            raise InvalidValue(TYPED.arguments if arguments else TYPED.weights, str(given), "--model with it")
        return None

    @classmethod
    def of(cls, reference: str, arguments: Sequence[str] = (), weights: Path | None = None) -> Imported:
        """What a command line says: `arguments` such as `width=32`, whose values are read as YAML. Raises InvalidValue
        or InvalidSettings."""
        args: dict[str, Any] = {}
        for argument in arguments:
            name, equals, text = argument.partition("=")
            if not equals or not name.isidentifier():
                raise InvalidValue(TYPED.arguments, argument, "key=value, such as width=32")
            if name in args:
                raise InvalidValue(TYPED.arguments, argument, f"{name} once")
            try:
                args[name] = parse_yaml(text)
            except Unreadable:
                raise InvalidValue(TYPED.arguments, argument, "a value that can be read as YAML, such as 32, true, "
                                                              "[1, 2] or 'a text'") from None
        if weights is not None and not weights.is_file():
            raise InvalidValue(TYPED.weights, str(weights), "a file of weights")
        try:
            return cls.model_validate({"import": reference, "args": args, "weights": weights})
        except ValidationError as error:
            words = {"import": TYPED.reference, "args": TYPED.arguments}
            raise InvalidSettings(all_at_once([f"{words[key.partition('.')[0]]}: {text}"
                                               for key, text in problems(error, cls)])) from None
