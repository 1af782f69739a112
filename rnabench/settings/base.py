"""What all settings share: options in, all errors at once, a digest out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rnabench.errors import InvalidSettings, InvalidValue, did_you_mean, not_valid

Granularity = Literal["batch", "sample"]
Precision = Literal["fp32", "tf32", "bf16"]


class Part(BaseModel):
    """A part of the settings: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


P = TypeVar("P", bound=Part)


def from_options(kind: type[P], options: Mapping[str, Any]) -> P:
    """A recipe part from command-line values. Raises InvalidSettings that names options the way they are typed."""
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        lines = [f"--{key.replace('_', '-')}: {text}" for key, text in problems(error, kind)]
        raise InvalidSettings("\n".join(lines)) from None


def problems(error: ValidationError, kind: type[BaseModel]) -> list[tuple[str, str]]:
    """(key, what is wrong with it) for each problem: the value, what was expected, the nearest valid name."""
    found = []
    for item in error.errors(include_url=False):
        key = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            names = list(kind.model_fields) if len(item["loc"]) == 1 else []
            message = "unknown key"
            if names:
                message += f"; expected one of {', '.join(names)}{did_you_mean(key, names)}"
        elif item["type"] == "missing":
            message = "missing; expected a value"
        else:
            expected = " ".join(message.split()).removeprefix("Input should be ").removeprefix("expected ")
            message = f"{_not_valid(item['input'])}; expected {_in_words(expected)}"
        found.append((key, message))
    return found


def _in_words(expected: str) -> str:
    """A type in a recipe's words and not in Python's."""
    if re.match(r"(Tuple|List) should have at least 1 item", expected):
        return "a list that is not empty"
    return re.sub(r"^a valid (tuple|list)$", "a list", re.sub(r"^a valid dictionary.*", "keys and values", expected))


def _not_valid(value: object) -> str:
    plain = str(value) if isinstance(value, Path) else value
    return not_valid(plain) if len(repr(plain)) <= 80 else f"{repr(plain)[:77]}... is not valid"


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


def judged(parse: Callable[[str], object], value: str) -> str:
    """Let one of the package's own parsers judge a name, and say its verdict in the form that pydantic understands."""
    try:
        parse(value)
    except InvalidValue as error:
        raise ValueError(f"expected {error.expected}{error.hint}") from None
    return value
