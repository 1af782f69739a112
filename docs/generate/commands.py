"""A page for each command, made of the command itself: what `--help` says, as tables."""

from __future__ import annotations

from typing import Any

import checkout  # noqa: F401
import typer
from text import cell, table

from rnabench.cli.command import command
from rnabench.cli.main import COMMANDS, LOOKS
from rnabench.cli.options import PANELS

FOLDER = "reference/commands"


def addresses() -> dict[str, str]:
    """Where the page of each command lies, by its name."""
    return {name: f"{FOLDER}/{name}.md" for name in COMMANDS}


def pages() -> dict[str, str]:
    return {address: page(name) for name, address in addresses().items()}


def page(name: str) -> str:
    """Its heading, what it does, its arguments, and its options by panel."""
    single = typer.Typer(**LOOKS, add_completion=False)
    single.command(name)(command(COMMANDS[name], name))
    built: Any = typer.main.get_command(single)
    arguments = [each for each in built.params if each.param_type_name == "argument"]
    words = [f"rnabench {name}", *(as_typed(argument) for argument in arguments), "[OPTIONS]"]
    parts = [f"# rnabench {name}", f"```text\n{' '.join(words)}\n```", cell(built.help)]
    if arguments:
        parts += ["## Arguments", table(("argument", "meaning"), [(f"`{each.name.upper()}`", cell(each.help))
                                                                  for each in arguments])]
    for panel in PANELS:
        options = [each for each in built.params if getattr(each, "rich_help_panel", None) == panel
                   and each not in arguments]
        if options:
            parts += [f"## {panel}", table(("option", "meaning", "default"), [option(each) for each in options])]
    return "\n\n".join(parts) + "\n"


def as_typed(argument: Any) -> str:
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def option(each: Any) -> tuple[str, str, str]:
    """A row: its names, its help, and its default, which may stand in the help."""
    names = " / ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts))
    meaning, _, said = (each.help or "").partition("[default: ")
    default = said.rstrip("]") if said else "" if each.default is None or each.required else str(each.default)
    if isinstance(each.default, bool):
        default = "on" if each.default else "off"
    kind = f" `{each.metavar}`" if each.metavar else ""
    return names + kind.replace("|", "\\|"), cell(meaning), cell(default)
