"""`rnabench attack --list`."""

from __future__ import annotations

from rnabench.cli.console import console, show_table
from rnabench.settings.attacks import ATTACKS, GRAMMAR
from rnabench.settings.suites import SUITES


def show_lists() -> None:
    """Suites, attacks and protocols, on stdout."""
    suites = [(name, _in_short([str(attack) for attack in suite.attacks]), _in_short(list(suite.protocols)),
               suite.summary) for name, suite in SUITES.items()]
    show_table("Suites (--suite; several joined by +)", ("suite", "attacks", "protocols", "what for"), suites, 4)
    attacks = []
    for kind, attack in ATTACKS.items():
        settings = ", ".join(f"{name} {field.default}" for name, field in attack.model_fields.items()
                             if field.default is not None)
        attacks.append((kind, "within eps" if attack.bounded else "smallest change", settings or "-",
                        f"{attack.summary} ({attack.paper})" if attack.paper else attack.summary))
    show_table("Attacks (--attacks)", ("kind", "goal", "parameters and defaults", "what it is"), attacks, 4)
    out = console()
    out.print(f"An attack's name is {GRAMMAR}. A recipe can set any parameter: {{name: cw-search, kind: cw, c: 0.01, "
              "searches: 6}.", markup=False)
    protocols = [
        ("paper", "one path, frozen for the whole attack", "other draws"),
        ("same-path", "one path, frozen", "the same path"),
        ("resample", "a fresh draw in every forward", "fresh draws"),
        ("eot:K", "the mean over K fresh draws at every step", "fresh draws"),
    ]
    show_table("Protocols (--protocols)", ("protocol", "the attacker's path", "the prediction's path"), protocols, 3)


def _in_short(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 8 else f"{names[0]}, {names[1]}, ..., {names[-1]}"
