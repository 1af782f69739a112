"""What records measured, by the columns of a paper's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnabench.report.methods import Method, method_rows, methods, shown_accuracy
from rnabench.report.record import Record
from rnabench.settings.recipe import Defined

NONE, WORST, GAIN, PARAMETERS = "-", "worst case", "gain ", "parameters"


class Measured:
    """The cells of a table like the paper's, whose columns are measured under `protocol` unless their name says another
    one behind the attack's; `models` says which network each method is."""

    def __init__(self, records: Sequence[Record], models: Mapping[str, Defined], protocol: str) -> None:
        self.protocol, self.models = protocol, models
        self.methods = {method.name: method for method in methods(records)}
        self.rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for row in method_rows(records):
            attack = WORST if row["attack"].startswith(WORST) else row["attack"]
            self.rows[row["model"], attack, row["protocol"]] = row

    def other_columns(self) -> list[str]:
        """Columns of what the paper does not have: an attacker who averages over paths, or holds one."""
        asked = [(attack, protocol) for _, attack, protocol in self.rows
                 if protocol.startswith("eot:") or (protocol == "paper" != self.protocol)]
        return [f"{attack} {protocol}" for attack, protocol in dict.fromkeys(asked)]

    def attacks(self) -> list[str]:
        """What was run under the paper's protocol, or on networks with a single path."""
        run = [attack for _, attack, protocol in self.rows if protocol in (self.protocol, "any")]
        return [attack for attack in dict.fromkeys(run) if attack not in ("natural", WORST)]

    def cell(self, method: Method, column: str) -> str:
        """`52.3 ± 1.9`, or what else the column is about; `-` where it was not measured."""
        if column.startswith(GAIN):
            return self._gain(method, column.removeprefix(GAIN))
        if column == PARAMETERS:
            count = method.records[0].model.parameters
            return NONE if count is None else f"{count / 1e6:.3f}"
        row = self._row(method, column)
        return shown_accuracy(row) if row else NONE

    def _row(self, method: Method, column: str) -> dict[str, Any] | None:
        """A column's name is an attack's, or an attack's and a protocol's."""
        attack, space, protocol = column.rpartition(" ")
        if not space:
            attack, protocol = column, self.protocol
        return self.rows.get((method.title, attack, protocol)) or self.rows.get((method.title, attack, "any"))

    def _gain(self, method: Method, attack: str) -> str:
        """How much more accuracy it keeps than the same network with its own statistics, in percent of that."""
        model = self.models.get(method.name)
        if model is None or model.deploy.statistics == "own":
            return NONE
        own = model.model_copy(update={"deploy": model.deploy.model_copy(update={"statistics": "own"})})
        for name, other in self.methods.items():
            if self.models.get(name) == own:
                mine, theirs = self._row(method, attack), self._row(other, attack)
                if mine and theirs and theirs["accuracy"] > 0:
                    return f"{100 * (mine['accuracy'] / theirs['accuracy'] - 1):+.1f}"
        return NONE
