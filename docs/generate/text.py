"""Markdown, from texts that are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: str | None) -> str:
    """A docstring or a help text where Markdown is read: nothing in it is markup but `code`, and paragraphs stay."""
    parts = (text or "").split("`")
    parts[::2] = [part.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("[", "\\[")
                  for part in parts[::2]]
    return "`".join(part.replace("|", "\\|") if place % 2 else part for place, part in enumerate(parts)).strip()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(' '.join(each.split()) for each in line)} |" for line in lines)
