"""What the options of a layer are called: by names, or where they are too many for that, by their numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """`count` options without names of their own, each called by its number. Nobody goes through all of them."""

    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> str:
        return str(number)

    __iter__ = None
    __contains__ = None


Names = tuple[str, ...] | Numbers
"""By option number."""
