"""What all settings share: a field that says what it is for, options in, all errors at once, a digest out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError, ValidationInfo

from rnabench.errors import MOST_LINES, InvalidSettings, InvalidValue, did_you_mean, not_valid, one_of

Panel = Literal["Data", "Network", "Attack", "Training", "Run"]


def described(help: str, panel: Panel, none: str = "", **constraints: Any) -> Any:
    """What a setting says of itself, as metadata of its type: its help with its unit, the panel that lists it, what
    None stands for where that is its default, and pydantic's constraints."""
    return setting(..., help, panel, none, **constraints)


def setting(default: Any, help: str, panel: Panel, none: str = "", **constraints: Any) -> Any:
    """A field that says of itself what `described` says. The command line is made of nothing else."""
    return Field(default, description=help, json_schema_extra={"panel": panel, "none": none}, **constraints)


def _instead_of_a_number(value: str | None, info: ValidationInfo) -> str | None:
    if value is not None:
        chosen_indices(value)
        if info.data.get("n_examples") is not None:
            raise ValueError("expected n_examples or indices, not both")
    return value


# settings that mean the same wherever they stand
Norm = Annotated[Literal["Linf", "L2"], described("Norm that bounds the change.", "Attack")]
NExamples = Annotated[int | None, described("Test images to attack.", "Data", "all", strict=True, ge=1)]
Indices = Annotated[str | None, AfterValidator(_instead_of_a_number),
                    described("Test images by index, such as 0-99,250.", "Data", "--n-examples")]
Draws = Annotated[int, described("Fresh path draws that score the adversarial images.", "Attack", strict=True, ge=1,
                                 le=1000)]
Granularity = Literal["batch", "sample"]
Precision = Annotated[Literal["fp32", "tf32", "bf16"], described(
    "fp32: float32 throughout; tf32: its products in TF32 (CUDA only); bf16: activations in bfloat16.", "Run")]
Capture = Annotated[StrictBool, described(
    "Record steps as CUDA graphs and replay them (CUDA only).", "Run", exclude=True)]  # how, not what, is computed
Seed = Annotated[int, described("Seed of every random stream.", "Run", strict=True, ge=0, lt=2**31)]
BATCH_SIZE = "Images per batch."


class Part(BaseModel):
    """A part of the settings: frozen, and unknown keys are errors.

    `unused` are fields that no option is made of: those that say nothing, which records have all the same, and those
    that a command is told of in a way of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    unused: ClassVar[tuple[str, ...]] = ()


P = TypeVar("P", bound=Part)
V = TypeVar("V")


def from_options(kind: type[P], options: Mapping[str, Any]) -> P:
    """A part of the settings from command-line values. Raises InvalidSettings that names options as they are typed."""
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        lines = [f"--{key.replace('_', '-')}: {text}" for key, text in problems(error, kind)]
        raise InvalidSettings("\n".join(lines)) from None


def problems(error: ValidationError, kind: type[BaseModel]) -> list[tuple[str, str]]:
    """(key, what is wrong with it) for each problem: the value, what was expected, the nearest valid name."""
    found = error.errors(include_url=False)
    told = [(".".join(map(str, item["loc"])), _problem(item, kind)) for item in found[:MOST_LINES]]
    return told + [("...", f"and {len(found) - MOST_LINES} more")] * (len(found) > MOST_LINES)


def _problem(item: Mapping[str, Any], kind: type[BaseModel]) -> str:
    if item["type"] == "missing":
        return "missing; expected a value"
    if item["type"] == "extra_forbidden":
        key, *deeper = item["loc"]
        known = [field.alias or name for name, field in kind.model_fields.items()]
        return "unknown key" + ("" if deeper else f"; expected {one_of(known)}{did_you_mean(str(key), known)}")
    return f"{_not_valid(item['input'])}; expected {expectation(item)}"


EXPECTED = {  # pydantic's types of error, or how they begin, in a recipe's words and not in Python's
    "greater_than": "a number greater than {gt}", "greater_than_equal": "at least {ge}",
    "less_than": "a number less than {lt}", "less_than_equal": "at most {le}",
    "string_pattern_mismatch": "a text that matches {pattern}", "too_short": "a list that is not empty",
    "int": "an integer", "float": "a number", "finite": "a finite number", "bool": "true or false", "string": "a text",
    "path": "a path", "list": "a list", "tuple": "a list", "dict": "keys and values", "model": "keys and values",
}


def expectation(item: Mapping[str, Any]) -> str:
    """What was expected, for one of the `errors()` of a ValidationError, as the end of a line; and the nearest of the
    valid names, where there are names."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "value_error":  # from a validator of ours
        return " ".join(str(context["error"]).split()).removeprefix("expected ")
    if kind == "literal_error":
        names = re.findall("'([^']+)'", context["expected"])
        return f"{context['expected']}{did_you_mean(str(item['input']), names)}"
    if kind == "too_short" and isinstance(item["input"], Mapping):
        return "keys and values"
    words = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0])
    numbers = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
    return words.format(**numbers) if words else str(item["msg"])


def _not_valid(value: object) -> str:
    return not_valid(str(value) if isinstance(value, Path | Part) else value)


def chosen_indices(text: str) -> list[int]:
    """`0-99,250` as numbers. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip())
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]) or last - int(match[1]) > 10_000_000:
            raise ValueError("expected numbers and ranges such as 0-99,250")
        found.extend(range(int(match[1]), last + 1))
    return list(dict.fromkeys(found))


def digest(content: Mapping[str, Any]) -> str:
    """12 hex digits of a JSON-like value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def judged(parse: Callable[[V], object], value: V) -> V:
    """Let one of the package's own parsers judge a name, and say its verdict in the form that pydantic understands."""
    try:
        parse(value)
    except InvalidValue as error:
        raise ValueError(f"expected {error.expected}{error.hint}") from None
    return value
