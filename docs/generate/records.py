"""What a record and a study hold, made of the JSON schemas that lie in docs/."""

from __future__ import annotations

import json
from typing import Any

from checkout import ROOT
from text import cell, table

INTRODUCTION = """# Records

Every number is a view of a record: a JSON file with all settings, where the number comes from, and what every image did
on every draw. Both formats have a JSON Schema, with which any program can check them:
[record.schema.json](record.schema.json) and [study.schema.json](study.schema.json). How to open one is told in
[Read a record](../howto/records.md). Shares are in [0, 1]. N is the number of images that an attack saw, D of the draws
that score.
"""


def page() -> str:
    parts = [INTRODUCTION]
    for kind in ("record", "study"):
        schema = json.loads((ROOT / "docs" / f"{kind}.schema.json").read_text(encoding="utf-8"))
        parts += [f"## A {kind}", cell(schema.get("description")), keys(schema, kind)]
        for name, part in schema["$defs"].items():
            parts += [f'### {name} {{: #{kind}-{name.lower()} }}', cell(part.get("description")), keys(part, kind)]
    return "\n\n".join(part for part in parts if part) + "\n"


def keys(part: dict[str, Any], kind: str) -> str:
    """A row per key: what it holds, and what it means."""
    needed = part.get("required", [])
    rows = [(f"`{name}`", shape(value, kind), cell(value.get("description")) or "",
             "always" if name in needed else "may be missing") for name, value in part.get("properties", {}).items()]
    return table(("key", "holds", "meaning", ""), rows) if rows else ""


def shape(value: dict[str, Any], kind: str) -> str:
    """What a value is, in few words, with a link to what is described on its own."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{kind}-{name.lower()})"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(shape(each, kind) for each in value["anyOf"]))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if value.get("type") == "array":
        return f"a list of {shape(value['items'], kind)}" if value.get("items") else "a list"
    if isinstance(value.get("additionalProperties"), dict):
        return f"by name, {shape(value['additionalProperties'], kind)}"
    return {"object": "keys and values", "string": "text", "integer": "whole number", "number": "number",
            "boolean": "true or false", "null": "null"}.get(str(value.get("type")), "anything")
