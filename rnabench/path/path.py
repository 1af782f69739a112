"""A path: which option every choice layer uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnabench.errors import InvalidValue


class Path:
    """A choice for each of L layers: one row for a whole batch, or one row per sample.

    `choices`, int64 [R, L] on any device, is what runs: nothing that draws a path or goes along it waits for a GPU. A
    tensor that is given is kept, and must not change. `rows`, the same as Python numbers, is what is compared, printed
    and recorded. R = 1 applies to every sample of any batch (the paper's granularity); R > 1 needs a batch of exactly R
    samples. A network without choice layers has the path `Path(((),))`.
    """

    def __init__(self, rows: Sequence[Sequence[int]] | Tensor) -> None:
        if not isinstance(rows, Tensor):
            if not rows or any(len(row) != len(rows[0]) for row in rows):
                raise InvalidValue("path", rows, "one or more rows of the same length")
            if not all(isinstance(choice, int) for row in rows for choice in row):
                raise InvalidValue("path", rows, "whole numbers")
            rows = torch.tensor(list(rows), dtype=torch.int64).view(len(rows), len(rows[0]))
        if rows.dim() != 2 or rows.dtype != torch.int64 or not len(rows):
            raise InvalidValue("path", f"{rows.dtype} {list(rows.shape)}", "int64 [R, L], R at least 1")
        self.choices = rows

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """`[R][L]` option numbers; from a GPU, a copy that waits for it."""
        return tuple(map(tuple, self.choices.tolist()))

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
        except (ValueError, RuntimeError):  # of torch, for numbers beyond int64
            raise InvalidValue("path", text, "choices as in '0110' or '0.11.3.', rows joined by ','") from None

    def take(self, numbers: Tensor) -> Path:
        """The path whose rows are these (int64) of this one, in that order; a one-row path stays as it is."""
        return Path(self.choices[numbers.to(self.choices.device)]) if self.per_sample else self

    def __len__(self) -> int:
        return self.choices.shape[1]

    @property
    def per_sample(self) -> bool:
        return len(self.choices) > 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self.rows == other.rows

    def __hash__(self) -> int:
        return hash(self.rows)

    def __str__(self) -> str:
        """`0110` where every choice is one digit, `0.11.3.` otherwise; rows joined by `,`."""
        rows = self.rows
        end = "." if any(choice > 9 for row in rows for choice in row) else ""
        return ",".join("".join(f"{choice}{end}" for choice in row) for row in rows)

    def __repr__(self) -> str:
        return f"Path({self.rows})"

    def difference(self, other: Path) -> tuple[int, ...]:
        """In how many layers the two paths choose differently (Figure 5 c), one number per row."""
        if len(self) != len(other):
            raise InvalidValue("path", str(other), f"{len(self)} choices, as in the other path")
        height = max(len(self.choices), len(other.choices))
        if {len(self.choices), len(other.choices)} - {1, height}:
            raise InvalidValue("path", str(other), f"1 or {len(self.choices)} rows")
        different: list[int] = (self.choices != other.choices.to(self.choices.device)).sum(1).tolist()
        return tuple(different)
