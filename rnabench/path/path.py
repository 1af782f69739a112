"""A path: which option every choice layer uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnabench.errors import InvalidValue


@dataclass(frozen=True)
class Path:
    """An immutable choice for each of L layers: one row for a whole batch, or one row per sample.

    `rows` is [R][L] option numbers. R = 1 applies to every sample of any batch (the paper's granularity);
    R > 1 needs a batch of exactly R samples. A network without choice layers has the path `Path(((),))`.
    """

    rows: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.rows or any(len(row) != len(self.rows[0]) for row in self.rows):
            raise InvalidValue("path", self.rows, "one or more rows of the same length")

    @classmethod
    def of(cls, *choices: int) -> Path:
        """The one-row path with these choices, first layer first."""
        return cls((choices,))

    @classmethod
    def parse(cls, text: str) -> Path:
        """The inverse of `str(path)`."""
        rows = [row.split(".")[:-1] if "." in text else list(row) for row in text.split(",")]
        try:
            return cls(tuple(tuple(map(int, row)) for row in rows))
        except ValueError:
            raise InvalidValue("path", text, "choices as in '0110' or '0.11.3.', rows joined by ','") from None

    def take(self, numbers: Sequence[int]) -> Path:
        """The path whose rows are these of this one, in that order; a one-row path stays as it is."""
        return Path(tuple(self.rows[number] for number in numbers)) if self.per_sample else self

    def __len__(self) -> int:
        return len(self.rows[0])

    @property
    def per_sample(self) -> bool:
        return len(self.rows) > 1

    def __str__(self) -> str:
        """`0110` where every choice is one digit, `0.11.3.` otherwise; rows joined by `,`."""
        end = "." if any(choice > 9 for row in self.rows for choice in row) else ""
        return ",".join("".join(f"{choice}{end}" for choice in row) for row in self.rows)

    def difference(self, other: Path) -> tuple[int, ...]:
        """In how many layers the two paths choose differently (Figure 5 c), one number per row."""
        if len(self) != len(other):
            raise InvalidValue("path", str(other), f"{len(self)} choices, as in the other path")
        height = max(len(self.rows), len(other.rows))
        if {len(self.rows), len(other.rows)} - {1, height}:
            raise InvalidValue("path", str(other), f"1 or {len(self.rows)} rows")
        mine, theirs = (rows * height if len(rows) == 1 else rows for rows in (self.rows, other.rows))
        return tuple(sum(a != b for a, b in zip(p, q, strict=True)) for p, q in zip(mine, theirs, strict=True))
