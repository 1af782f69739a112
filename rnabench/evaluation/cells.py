"""What an evaluation runs: natural accuracy, every attack under every protocol, and the probes of the sanity checks."""

from __future__ import annotations

from dataclasses import dataclass

from rnabench.defence.defence import Defence, replayable
from rnabench.errors import InvalidValue
from rnabench.settings.attacks import AttackSpec, at_eps, at_home, parse_attack
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.protocols import Protocol, eot, parse_protocol, strength

SURROGATE_PROTOCOL = eot(10)  # if the surrogate draws; a deterministic one is attacked as it is


@dataclass(frozen=True)
class Surrogate:
    """`name` says whose weights these are."""

    name: str
    defence: Defence


NATURAL = "natural"
ANY_PROTOCOL = "any"  # without an attacker, or without randomness, all protocols are the same
LARGE = 64 / 255  # an attacker who may move every pixel so far leaves no accuracy above chance (on natural images)


@dataclass(frozen=True)
class Cell:
    """One attack under one protocol; `attack` None is the natural accuracy.

    `limit`: only on so many of the first images. `probe`: for a sanity check and not for the table. `surrogate`: the
    name of the network that the attack is made on instead, to see how its images transfer.
    """

    attack: AttackSpec | None
    protocol: Protocol | None
    limit: int | None = None
    probe: bool = False
    surrogate: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        name = self.attack.name if self.attack else NATURAL
        return ("transfer-" if self.surrogate else "") + name, self.protocol.name if self.protocol else ANY_PROTOCOL

    @property
    def title(self) -> str:
        return ("sanity check: " if self.probe else "") + " / ".join(self.key)

    @property
    def group(self) -> str:
        """What it is chosen by: its attack's name, `natural`, or `sanity` for all probes."""
        return "sanity" if self.probe else self.key[0]


def cells(keys: EvaluationSettings, is_random: bool, surrogate: str | None = None) -> list[Cell]:
    """The table's cells; a deterministic model is attacked once, whatever the protocols. Attacks that are transferred
    are made on the network that `surrogate` names, under their protocol, too. Raises InvalidValue without one."""
    found = {("", ""): Cell(None, None)}
    for attack, protocol, _ in keys.entries():
        if attack.transferred and surrogate is None:
            raise InvalidValue("attack", attack.name, "--transfer-from RUN with it, the network that it is made on")
        cell = Cell(at_home(attack), parse_protocol(protocol) if is_random else None,
                    keys.limit(attack.name, protocol if is_random else ANY_PROTOCOL),
                    surrogate=surrogate if attack.transferred else None)
        found.setdefault(cell.key, cell)
    return list(found.values())


def check_protocols(keys: EvaluationSettings, defence: Defence, name: str) -> None:
    """Raises InvalidValue for a protocol that freezes a draw, on a defence (called `name`) whose draws cannot be."""
    if replayable(defence):
        return
    for entry in keys.entries():
        if not parse_protocol(entry.protocol).samples:
            raise InvalidValue("--protocols", entry.protocol, f"resample or eot:K: no seed fixes what {name} draws, so "
                               "that no draw can be frozen")


def probes(keys: EvaluationSettings, is_random: bool, surrogate: str | None = None, can_freeze: bool = True
           ) -> list[Cell]:
    """What the sanity checks need and the table does not have, on few images.

    The strongest averaging protocol of the table is theirs too (eot:10 if it has none). `surrogate` is the name of the
    network for the transfer attack, if there is one; `can_freeze`: whether draws can be frozen.
    """
    if not keys.sanity or keys.norm != "Linf" or keys.backend != "native":
        return []
    there = {cell.key for cell in cells(keys, is_random, surrogate)}
    strongest = max((parse_protocol(entry.protocol) for entry in keys.entries()), default=eot(10), key=strength)
    strongest = strongest if strongest.samples > 1 else eot(10)
    averaging = strongest if is_random else None
    wanted = [(parse_attack(name), averaging) for name in ("fgsm", "pgd20", "pgd60", "square200")]
    wanted += [(at_eps(parse_attack("pgd10"), eps), averaging) for eps in ladder(keys.eps)]
    if is_random:
        pgd = parse_attack("pgd20")
        wanted.append((pgd, eot(max(1, strongest.samples // 2), strongest.average)))
        wanted += [(pgd, parse_protocol("same-path"))] if can_freeze else []
    made = [Cell(attack, protocol, keys.sanity_examples, probe=True) for attack, protocol in wanted]
    if surrogate is not None:
        made.append(Cell(parse_attack("pgd20"), None, keys.sanity_examples, probe=True, surrogate=surrogate))
    return [cell for cell in made if cell.key not in there]


def ladder(eps: float) -> list[float]:
    """The larger and larger eps at which accuracy has to fall: the double, 64/255, and all that there is."""
    return sorted({size for size in (2 * eps, LARGE, 1.0) if eps < size <= 1})
